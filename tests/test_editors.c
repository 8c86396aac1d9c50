/* The colours of tools/editors on the library and the examples. What a word is there is asked of the language's own parser
 * and compared: keywords, names that are spelt like keywords, numbers, arrows, comments, declared names. The TextMate
 * grammar runs in a reader of our own (textmate.h), the Vim file in Vim. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <unistd.h>

#include "compiler/syntax/format.h"
#include "ctl_grammar.h"
#include "tests/folder.h"
#ifdef CTL_HAVE_PCRE2
#include "tests/textmate.h"
#endif

/* What a byte is: c a comment, n a number, a an arrow, k a keyword, d a declared name, x an error, . anything else. */
typedef struct source {
    char name[512], *text;
    size_t n;
    char *expected; /* a letter a byte; ' ' where nothing is asked, w: a word that is none of c n a k d x */
} source;

static ctl_arena arena;
static jmp_buf out_of_memory;
static CTL_VEC(source) sources;

static void expect(source *s, const char *at, size_t n, char what) {
    if (at >= s->text && at + n <= s->text + s->n) memset(s->expected + (at - s->text), what, n);
}

static char expected_of(const ctl_piece *t) {
    switch (t->kind) {
    case NUMBER:
        return 'n';
    case LARROW:
    case RARROW:
    case SERIES:
    case '~':
        return 'a';
    case AND:
    case OR:
        return 'k';
    default:
        break;
    }
    bool word = (t->text[0] >= 'a' && t->text[0] <= 'z') || (t->text[0] >= 'A' && t->text[0] <= 'Z') || t->text[0] == '_';
    return t->role == ROLE_KEYWORD ? 'k' : word ? 'w' : ' ';
}

static void ask_parser(source *s) {
    ctl_sink sink = {.arena = &arena};
    uint32_t file = ctl_sink_add_source(&sink, s->name, s->text, s->n);
    s->text = (char *)sink.sources.at[file].text;
    s->expected = ctl_arena_alloc(&arena, s->n + 1);
    memset(s->expected, ' ', s->n);
    ctl_format_lines lines = {0};
    ctl_format_read(ctl_parser_open(&arena, &sink, file), &lines);
    for (size_t i = 0; i < lines.n; i++) {
        if (lines.at[i].note.text) expect(s, lines.at[i].note.text, lines.at[i].note.n, 'c');
        for (size_t k = 0; k < lines.at[i].n; k++) {
            const ctl_piece *t = &lines.at[i].at[k];
            expect(s, t->text, t->n, expected_of(t));
            if (t->kind == SIZES) { /* `16x1024`, which the formatter's reader has pulled apart */
                const char *at = strpbrk(t[-1].text + t[-1].n, "0123456789"), *x = strchr(at, 'x');
                expect(s, at, (size_t)(x - at), 'n'), expect(s, x, 1, 'k');
                expect(s, x + 1, strspn(x + 1, "0123456789"), 'n');
            }
            for (size_t m = 0; m < t->notes.n; m++) expect(s, t->notes.at[m].text, t->notes.at[m].n, 'c');
        }
    }
    ctl_ast_module *module = ctl_parse(&arena, &sink, file, "a");
    for (size_t i = 0; i < module->ndecls; i++) {
        const ctl_decl *d = module->decls[i];
        if (d->name && d->kind != DECL_IMPORT)
            expect(s, s->text + d->name_span.begin, d->name_span.end - d->name_span.begin, 'd');
    }
    assert_int_equal(sink.errors, 0);
}

static int read_sources(void **state) {
    if (make_folder(state) || setjmp(out_of_memory)) return -1;
    ctl_arena_init(&arena, NULL, &out_of_memory);
    const char *const folders[] = {SOURCE_DIR "/stdlib", SOURCE_DIR "/examples", SOURCE_DIR "/tests/editors"};
    for (size_t f = 0; f < CTL_COUNT(folders); f++) {
        DIR *dir = opendir(folders[f]);
        if (!dir) return -1;
        for (struct dirent *entry; (entry = readdir(dir));) {
            const char *dot = strrchr(entry->d_name, '.');
            if (!dot || strcmp(dot, ".ctl") != 0) continue;
            source s = {.text = ctl_arena_alloc(&arena, 1 << 18)};
            snprintf(s.name, sizeof s.name, "%s/%s", folders[f], entry->d_name);
            FILE *file = fopen(s.name, "r");
            if (!file) return -1;
            s.n = fread(s.text, 1, (1 << 18) - 1, file);
            fclose(file);
            ask_parser(&s);
            CTL_PUSH(&arena, &sources, s);
        }
        closedir(dir);
    }
    return sources.n > 10 ? 0 : -1;
}

static int drop_sources(void **state) {
    ctl_arena_free(&arena);
    return remove_folder(state);
}

/* seen: a letter a byte. */
static void compare(const source *s, const char *seen) {
    int line = 1;
    size_t begin = 0;
    for (size_t i = 0; i < s->n; i++) {
        char want = s->expected[i], is = seen[i];
        bool right = want == ' ' ? is != 'x' && is != 'c' && is != 'n' : want == 'w' ? is == '.' : is == want;
        if (s->text[i] == ' ' && want != 'c') right = is != 'x';
        if (!right) {
            size_t n = strcspn(s->text + begin, "\n");
            fail_msg("%s:%d:%zu: '%c' is taken for %c, and is %c\n%.*s\n%.*s\n%.*s", s->name, line, i - begin + 1, s->text[i], is,
                     want, (int)n, s->text + begin, (int)n, seen + begin, (int)n, s->expected + begin);
        }
        if (s->text[i] == '\n') line++, begin = i + 1;
    }
}

/* ---- TextMate ---- */
#ifdef CTL_HAVE_PCRE2
static char letter_of_scope(const char *scope) {
    static const struct { const char *prefix; char letter; } letters[] = {
        {"comment", 'c'}, {"constant.numeric", 'n'}, {"keyword.operator.arrow", 'a'}, {"keyword.operator.logical", 'k'},
        {"keyword.operator.times", 'k'}, {"keyword.operator", '.'}, {"keyword", 'k'}, {"storage", 'k'},
        {"entity.name.function", 'd'}, {"entity.name.type", 'd'}, {"invalid", 'x'}};
    for (size_t i = 0; scope && i < CTL_COUNT(letters); i++)
        if (strncmp(scope, letters[i].prefix, strlen(letters[i].prefix)) == 0) return letters[i].letter;
    return '.';
}

static void colour(textmate *t, const char *text, size_t size, char *seen) {
    static const char *scopes[1 << 12];
    t->depth = 0;
    for (size_t begin = 0; begin < size;) {
        size_t n = strcspn(text + begin, "\n") + (strchr(text + begin, '\n') != NULL);
        assert_true(n < CTL_COUNT(scopes));
        memset(scopes, 0, sizeof scopes);
        textmate_line(t, text + begin, n, scopes);
        assert_string_equal(t->fault, "");
        for (size_t i = 0; i < n; i++) seen[begin + i] = letter_of_scope(scopes[i]);
        begin += n;
    }
}

static void test_textmate(void **state) {
    (void)state;
    textmate t;
    if (!textmate_open(&t, SOURCE_DIR "/tools/editors/ctl.tmLanguage.json")) fail_msg("%s", t.fault);
    for (size_t i = 0; i < sources.n; i++) {
        char *seen = calloc(1, sources.at[i].n + 1);
        colour(&t, sources.at[i].text, sources.at[i].n, seen);
        compare(&sources.at[i], seen);
        assert_int_equal(t.depth, 0); /* what was opened is closed */
        free(seen);
    }
    /* what the language does not have is seen */
    static const struct { const char *text, *seen; } wrong[] = {
        {"fn f(x) = \"x\"", "kk.d......x.x"}, {"fn f(x) = 2x & .5", "kk.d......xx.x.xx"}, {"fn f(x) = x ! y", "kk.d........x.."}};
    for (size_t i = 0; i < CTL_COUNT(wrong); i++) {
        char seen[40] = "";
        colour(&t, wrong[i].text, strlen(wrong[i].text), seen);
        assert_string_equal(seen, wrong[i].seen);
    }
    textmate_close(&t);
}
#else
static void test_textmate(void **state) {
    (void)state;
    print_message("SKIPPED: PCRE2 is not there (tools/setup installs libpcre2-dev)\n");
    skip();
}
#endif

/* ---- Vim ---- */
/* Writes a letter a byte of each file: what the groups of syntax/ctl.vim are called tells which. */
static const char SCRIPT[] =
    "set nocompatible nomore\n"
    "syntax on\n"
    "let s:letters = {'ctlComment': 'c', 'ctlTodo': 'c', 'ctlNumber': 'n', 'ctlArrow': 'a', 'ctlIllegal': 'x', 'ctlBadNumber': 'x',\n"
    "  \\ 'ctlName': 'd', 'ctlTuneName': 'd', 'ctlLogic': 'k', 'ctlStatement': 'k', 'ctlForWord': 'k', 'ctlInWord': 'k',\n"
    "  \\ 'ctlConditional': 'k', 'ctlInit': 'k', 'ctlOn': 'k', 'ctlWith': 'k', 'ctlPer': 'k', 'ctlSetting': 'k', 'ctlDeclaration': 'k'}\n"
    "function! s:Dump(file, to)\n"
    "  execute 'edit' a:file\n"
    "  call assert_equal('ctl', &filetype)\n"
    "  syntax sync fromstart\n"
    "  let out = []\n"
    "  for l in range(1, line('$'))\n"
    "    let row = ''\n"
    "    for c in range(1, col([l, '$']) - 1)\n"
    "      let row .= get(s:letters, synIDattr(synID(l, c, 0), 'name'), '.')\n"
    "    endfor\n"
    "    call add(out, row)\n"
    "  endfor\n"
    "  call writefile(out, a:to)\n"
    "endfunction\n";

static void test_vim(void **state) {
    (void)state;
    if (system("vim -es -u NONE -c 'if has(\"syntax\")' -c 'quit' -c 'endif' -c 'cquit' </dev/null >/dev/null 2>&1") != 0) {
        print_message("SKIPPED: there is no Vim with syntax highlighting\n");
        skip();
    }
    char path[256], command[1024];
    snprintf(path, sizeof path, "%s/dump.vim", folder);
    FILE *script = fopen(path, "w");
    assert_non_null(script);
    fprintf(script, "set runtimepath^=%s/tools/editors/vim\nfiletype plugin on\n%s", SOURCE_DIR, SCRIPT);
    for (size_t i = 0; i < sources.n; i++)
        fprintf(script, "call s:Dump('%s', '%s/%zu')\n", sources.at[i].name, folder, i);
    fprintf(script, "call writefile(v:errors, '%s/errors')\nquit!\n", folder);
    assert_int_equal(fclose(script), 0);
    snprintf(command, sizeof command, "cd '%s' && vim -es -u dump.vim -i NONE -n </dev/null >vim.log 2>&1; cat errors", folder);
    FILE *p = popen(command, "r");
    char errors[1000];
    errors[fread(errors, 1, sizeof errors - 1, p)] = 0;
    assert_int_equal(pclose(p), 0);
    assert_string_equal(errors, "");
    for (size_t i = 0; i < sources.n; i++) {
        snprintf(path, sizeof path, "%s/%zu", folder, i);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        char *seen = calloc(1, sources.at[i].n + 2);
        size_t n = fread(seen, 1, sources.at[i].n + 1, file);
        fclose(file);
        assert_int_equal(n, sources.at[i].n);
        for (size_t k = 0; k < n; k++)
            if (seen[k] == '\n') seen[k] = '.';
        compare(&sources.at[i], seen);
        free(seen);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_textmate), cmocka_unit_test(test_vim)};
    return cmocka_run_group_tests(tests, read_sources, drop_sources);
}
