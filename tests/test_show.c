/* The network as people see it: a small spec with a control of each kind, drawn by hand here as text and as DOT; the
 * form of DOT, read back by a reader of its own; folding; and the command around it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
/* cmocka wants those before it */
#include <cmocka.h>

#include "compiler/show/show.h"
#include "ctl/ctlc.h"

static char said[4096];
static void hear(void *ctx, const ctl_diagnostic *d) {
    (void)ctx;
    ctl_diagnostic_text(d, said, sizeof said);
}

static char drawn[1 << 18];
static void keep(void *ctx, const char *pass, const char *text, size_t size) {
    (void)ctx;
    assert_string_equal(pass, "network");
    assert_true(size < sizeof drawn);
    memcpy(drawn, text, size);
    drawn[size] = 0;
}

static ctl_status draw(const char *spec, ctlc_network form, const char *unfold) {
    ctlc_options options = {.diagnostic = hear, .check_only = true, .network = form, .unfold = unfold, .dump = keep};
    ctl_program *program;
    drawn[0] = said[0] = 0;
    return ctlc_compile_text("spec", spec, strlen(spec), &options, &program);
}

/* Two equal blocks of a map, then a result; LoRA on the map, a new edge around it, an adapter behind the block. */
static const char SPEC[] = "import control\n"
                           "net half(x) -> y {\n    y <- x\n    y <- tanh(map: linear(x; n = cols(x)))\n}\n"
                           "net toy(x: d, target: d; d, depth) -> y, loss {\n"
                           "    s[0] <- x\n"
                           "    for i in 0..depth {\n        s[i + 1] <- part[i]: half(s[i])\n    }\n"
                           "    y <- last: linear(s[depth]; n = d)\n    loss <- mse(y, target)\n}\n"
                           "control all(rank = 1) on half {\n"
                           "    map.weight ~ control.lora(; rank, alpha = 2)\n"
                           "    y <- side: control.lowrank(x; rank) # beside\n"
                           "    y => behind: control.ia3()\n}\n"
                           "control head() on toy {\n    train last.**\n}\n"
                           "model m = toy(; d = 3, depth = 2)\n"
                           "tune m with all(), head() {\n    tokens 1 x 4\n    sgd(; lr = 1e-2)\n}\n";

static const char TEXT[] =
    "m: toy\n"
    "marks: . no weights, - frozen weights, * trained weights,\n"
    "       ~ a control on a weight, + a NEW edge, > in series behind the state\n"
    "\n"
    ". x <- data:x\n"
    ". target <- data:target\n"
    ". s.0 <- x\n"
    ". s.1..2 <- part.0..1.y\n"
    "  part.0..1: half, 2 alike; part.0\n"
    ".     x <- s.0\n"
    ".     y <- x\n"
    ".     y <- map.y\n"
    "+     y <- side: control.lowrank(x; rank) from x by side.lora_A.weight [1 x 3], side.lora_B.weight [3 x 1]\n"
    ">     y => behind: control.ia3() by behind.ia3_l [1 x 3]\n"
    "-     map.y <- x by map.weight [3 x 3]\n"
    "~     map.y ~ control.lora(; rank, alpha = 2) by map.lora_A.weight [1 x 3], map.lora_B.weight [3 x 1]\n"
    "* last.y <- s.2 by last.weight [3 x 3]\n"
    ". y <- last.y\n"
    ". loss <- y, target\n";

static void test_text(void **state) {
    (void)state;
    assert_int_equal(draw(SPEC, CTLC_NETWORK_TEXT, NULL), CTL_OK);
    assert_string_equal(drawn, TEXT);
}

/* The same, with the line of each edge: the map's product is the prelude's, what the control put on it is the control's. */
static void test_lines(void **state) {
    (void)state;
    static const char *const places[] = {"spec:6", "spec:6", "spec:7", "spec:9", "spec:9", "spec:3", "spec:4",
                                         "spec:16", "spec:17", "<nn>:10", "spec:15", "<nn>:10", "spec:11", "spec:12"};
    ctlc_options options = {.diagnostic = hear, .check_only = true, .network = CTLC_NETWORK_TEXT, .network_lines = true, .dump = keep};
    ctl_program *program;
    char plain[sizeof TEXT] = "";
    size_t k = 0;
    assert_int_equal(ctlc_compile_text("spec", SPEC, strlen(SPEC), &options, &program), CTL_OK);
    for (const char *line = drawn, *end; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        const char *mark = strstr(line, "  # ");
        if (mark && mark > end) mark = NULL;
        strncat(plain, line, (size_t)((mark ? mark : end) - line));
        strcat(plain, "\n");
        if (strchr(".-*~+>", line[0]) && line[1] == ' ') {
            assert_true(k < sizeof places / sizeof *places);
            if (!mark || (size_t)(end - mark) != 4 + strlen(places[k]) || strncmp(mark + 4, places[k], strlen(places[k])) != 0)
                fail_msg("edge %zu is not said to be at %s: %.*s", k, places[k], (int)(end - line), line);
            k++;
        } else assert_null(mark);
    }
    assert_int_equal(k, sizeof places / sizeof *places);
    assert_string_equal(plain, TEXT);
}

static const char GRAY[] = " [color=\"gray55\", penwidth=0.8]";

static void holds(const char *line) {
    if (!strstr(drawn, line)) fail_msg("\"%s\" is not in:\n%s", line, drawn);
}
static void arrow(const char *from, const char *to, const char *look) {
    char line[512];
    snprintf(line, sizeof line, "    \"%s\" -> \"%s\"%s;\n", from, to, look);
    holds(line);
}

static void test_dot(void **state) {
    (void)state;
    assert_int_equal(draw(SPEC, CTLC_NETWORK_DOT, "part.1"), CTL_OK);
    holds("digraph \"m\" {\n");
    holds("    \"data:x\" [label=\"x\", shape=plaintext];\n");
    holds("    \"s.1..2\" [label=\"s.1..2\", shape=box3d, margin=\"0.15,0.1\"];\n");
    holds("    subgraph cluster_0 {\n        label=\"part.1: half\";\n        style=\"rounded,filled\";\n        fillcolor=\"gray97\";\n"
          "        \"part.1.x\" [label=\"x\"];\n"
          "        \"part.1.y\" [label=\"y\"];\n        \"part.1.map.y\" [label=\"map.y\"];\n    }\n");
    holds("    \"part.0..1\" [label=\"part.0\\nhalf\", shape=box3d, margin=\"0.15,0.1\"];\n");
    arrow("s.0", "part.0..1", GRAY);
    arrow("part.0..1", "s.1..2", GRAY);
    arrow("s.1..2", "part.1.x", GRAY);
    arrow("part.1.x", "part.1.y", GRAY);
    arrow("part.1.x", "part.1.map.y", " [color=\"black\", penwidth=1.2, label=\"  weight\"]");
    arrow("part.1.x", "part.1.map.y",
          " [color=\"blue\", fontcolor=\"blue\", style=dashed, penwidth=2, label=\"  ~ control.lora(; rank, alpha = 2)\"]");
    arrow("part.1.x", "part.1.y",
          " [color=\"red:white:red\", fontcolor=\"red\", penwidth=2, label=\"  + side: control.lowrank(x; rank)\"]");
    arrow("part.1.y", "part.1.y",
          " [color=\"purple\", fontcolor=\"purple\", style=dotted, penwidth=2.5, label=\"  > behind: control.ia3()\"]");
    arrow("s.1..2", "last.y", " [color=\"darkorange3\", fontcolor=\"darkorange3\", penwidth=3.5, label=\"  * weight\"]");
    size_t arrows = 0;
    const char *network = strstr(drawn, "    \"data:x\" ["); /* behind the legend */
    assert_non_null(network);
    for (const char *at = network; (at = strstr(at, " -> ")); at++) arrows++;
    assert_int_equal(arrows, 17); /* those of TEXT: ten outside of parts, five of part 1, two of the folded part */
}

/* Each kind of edge is in the legend, with the line that it is drawn with; no two lines are alike without their colour. */
static void test_legend(void **state) {
    (void)state;
    static const char *const about[] = {"no weights", "frozen weights", "* the model's own weights, trained", "~ a control on a weight",
                                        "+ a NEW edge", "> in series behind the state"};
    static const char *const shape[] = {"penwidth=0.8", "penwidth=1.2", "penwidth=3.5", "style=dashed, penwidth=2", ":white:",
                                        "style=dotted, penwidth=2.5"};
    assert_int_equal(draw(SPEC, CTLC_NETWORK_DOT, NULL), CTL_OK);
    for (int k = 0; k < 6; k++) {
        char line[256];
        snprintf(line, sizeof line, "\"legend to %d\" [label=\"%s\", shape=plaintext];\n", k, about[k]);
        holds(line);
        snprintf(line, sizeof line, "\"legend from %d\" -> \"legend to %d\" [", k, k);
        const char *at = strstr(drawn, line);
        assert_non_null(at);
        snprintf(line, sizeof line, "%.*s", (int)strcspn(at, "\n"), at);
        for (int other = 0; other < 6; other++)
            if (!strstr(line, shape[other]) != (other != k)) fail_msg("%s: %s", line, shape[other]);
    }
}

/* ---- the form ---- */
/* A quoted word at *at, without its quotes and escapes. */
static bool word(const char **at, char *out, size_t size) {
    size_t n = 0;
    const char *c = *at;
    if (*c++ != '"') return false;
    for (; *c && *c != '"'; c++) {
        if (*c == '\\') c++;
        assert_true(*c && *c != '\n' && n + 1 < size);
        out[n++] = *c;
    }
    assert_int_equal(*c, '"');
    out[n] = 0, *at = c + 1;
    return true;
}

/* Braces are in balance, every statement ends, no node is declared twice, and no edge names one that is not. */
static void well_formed(void) {
    static char nodes[512][256];
    size_t n = 0, edges = 0;
    int depth = 0;
    for (const char *line = drawn, *end; *line; line = end + 1) {
        char from[256], to[256];
        end = strchr(line, '\n');
        assert_non_null(end);
        const char *at = line + strspn(line, " ");
        assert_true(end > at);
        assert_true(end[-1] == '{' || end[-1] == '}' || end[-1] == ';');
        depth += (end[-1] == '{') - (end[-1] == '}');
        assert_true(depth >= (end[1] != 0));
        if (!word(&at, from, sizeof from)) continue;
        if (strncmp(at, " [", 2) == 0) {
            for (size_t k = 0; k < n; k++) assert_string_not_equal(nodes[k], from);
            assert_true(n < 512);
            strcpy(nodes[n++], from);
            continue;
        }
        assert_memory_equal(at, " -> ", 4);
        at += 4;
        assert_true(word(&at, to, sizeof to));
        bool has_from = false, has_to = false;
        for (size_t k = 0; k < n; k++) has_from |= !strcmp(nodes[k], from), has_to |= !strcmp(nodes[k], to);
        if (!has_from || !has_to) fail_msg("%s -> %s, but one of them is not declared", from, to);
        edges++;
    }
    assert_int_equal(depth, 0);
    assert_true(n > 1 && edges > 0);
}

static const char LLAMA[] = "import llama, tuning\n"
                            "model m = llama.causal_lm(; vocab = 11, dim = 8, depth = %d, heads = 2, kv_heads = 2, "
                            "ffn = 8, theta = 100.0)\n"
                            "tune m with %s {\n    tokens 1 x 4\n    sgd(; lr = 1e-2)\n}\n";

static void test_form(void **state) {
    (void)state;
    static const char *const tuned[] = {"tuning.double(rank = 1)", "tuning.lora_fa()", "tuning.dora_qkvud()",
        "tuning.houlsby(), tuning.ia3(), tuning.biases()", "tuning.cross(rank = 1, hop = 2), tuning.wide()",
        "tuning.lora_qkv(), tuning.biases()", "tuning.full()", "tuning.parallel_adapter()"};
    assert_int_equal(draw(SPEC, CTLC_NETWORK_DOT, NULL), CTL_OK);
    well_formed();
    for (size_t k = 0; k < sizeof tuned / sizeof *tuned; k++) {
        char spec[1024];
        snprintf(spec, sizeof spec, LLAMA, 6, tuned[k]);
        if (draw(spec, CTLC_NETWORK_DOT, NULL) != CTL_OK) fail_msg("%s: %s", tuned[k], said);
        well_formed();
        assert_int_equal(draw(spec, CTLC_NETWORK_DOT, "layers.5"), CTL_OK);
        well_formed();
    }
}

/* Names that no spec of today can have: the writer does not rely on that. */
static void test_quoting(void **state) {
    (void)state;
    ctl_arena arena;
    jmp_buf jump;
    assert_int_equal(setjmp(jump), 0);
    ctl_arena_init(&arena, NULL, &jump);
    ctl_section root = {.path = "", .net = "a \"net\"\nof two lines"};
    const char *sources[] = {"data:back\\slash"};
    ctl_link link = {.kind = LINK_NEW, .text = "f(\"x\")"};
    link.sources.at = sources, link.sources.n = 1;
    ctl_network_item item = {.path = "a -> \"b\"; }", .index = -1};
    item.links.at = &link, item.links.n = 1;
    root.items.at = &item, root.items.n = 1;
    ctl_network network = {"strict { \\", &root};
    ctl_text text = {.arena = &arena};
    ctl_show_dot(&network, NULL, &text);
    keep(NULL, "network", text.at, text.n);
    ctl_arena_free(&arena);
    well_formed();
    holds("digraph \"strict { \\\\\" {\n");
    holds("    \"a -> \\\"b\\\"; }\" [label=\"a -> \\\"b\\\"; }\"];\n");
    holds("    \"data:back\\\\slash\" -> \"a -> \\\"b\\\"; }\" [");
    holds("label=\"  + f(\\\"x\\\")\"];\n");
}

/* ---- folding ---- */
static size_t lines_of(int depth, const char *tuned, ctlc_network form, const char *unfold) {
    char spec[1024];
    size_t lines = 0;
    snprintf(spec, sizeof spec, LLAMA, depth, tuned);
    assert_int_equal(draw(spec, form, unfold), CTL_OK);
    for (const char *c = drawn; *c; c++) lines += *c == '\n';
    return lines;
}

static void test_folding(void **state) {
    (void)state;
    const char *tuned = "tuning.lora_qkv(), tuning.double(), tuning.houlsby()";
    for (int form = CTLC_NETWORK_TEXT; form <= CTLC_NETWORK_DOT; form++)
        assert_int_equal(lines_of(32, tuned, form, NULL), lines_of(3, tuned, form, NULL));
    /* Any of them may stand for the run. */
    assert_int_equal(lines_of(32, tuned, CTLC_NETWORK_TEXT, "layers.7"), lines_of(3, tuned, CTLC_NETWORK_TEXT, NULL));
    holds("  model.layers.0..31: llama.block, 32 alike; model.layers.7\n");
    holds(".     x <- model.s.7\n");
    /* Blocks that other blocks reach are not like those that none does. */
    lines_of(6, "tuning.cross(rank = 1, hop = 2)", CTLC_NETWORK_TEXT, NULL);
    holds("  model.layers.0..1: llama.block, 2 alike; model.layers.0\n");
    holds("  model.layers.2..5: llama.block, 4 alike; model.layers.2\n");
    holds("+     y <- cross: control.lowrank(layers[i].x; rank) from model.layers.0.x by ");
}

/* A source that is the same for all of them, and one that goes along, are both alike; what mixes the two is not. */
static void test_alike(void **state) {
    (void)state;
    static const char form[] = "import control\n"
                               "net toy(x: d, target: d; d) -> y, loss {\n    a[0] <- x\n    b[0] <- x\n"
                               "    for i in 0..3 {\n        a[i + 1] <- tanh(a[i])\n"
                               "        b[i + 1] <- %s\n    }\n"
                               "    y <- b[3]\n    loss <- mse(y, target)\n}\n"
                               "control none() on toy {\n    y => control.ia3()\n}\n"
                               "model m = toy(; d = 2)\n"
                               "tune m with none() {\n    tokens 1 x 2\n    sgd(; lr = 1e-2)\n}\n";
    char spec[2048];
    snprintf(spec, sizeof spec, form, "a[1] + a[i + 1]"); /* 1 for all of them, and 1, 2, 3: the first reads it once */
    assert_int_equal(draw(spec, CTLC_NETWORK_TEXT, NULL), CTL_OK);
    holds(". a.1..3 <- a.0..2\n");
    holds(". b.1 <- a.1\n. b.2..3 <- a.1, a.2..3\n");
    snprintf(spec, sizeof spec, form, "a[(i + 1) * (3 - i) / (3 - i) - i % 2]"); /* 1, 1, 3 */
    assert_int_equal(draw(spec, CTLC_NETWORK_TEXT, NULL), CTL_OK);
    holds(". b.1..2 <- a.1\n. b.3 <- a.3\n");
}

static void test_unfold_nothing(void **state) {
    (void)state;
    assert_int_equal(draw(SPEC, CTLC_NETWORK_TEXT, "part.2"), CTL_ERR_INPUT);
    assert_non_null(strstr(said, "no repeated part of the network is called `part.2`"));
    assert_non_null(strstr(said, "there are: part.0..1"));
    assert_int_equal(draw(SPEC, CTLC_NETWORK_TEXT, ""), CTL_ERR_INPUT);
}

/* ---- the command ---- */
static char folder[64];
static int run(const char *arguments) {
    char command[1024];
    snprintf(command, sizeof command, "cd '%s' && { %s; } >out 2>&1", folder, arguments);
    int status = system(command);
    snprintf(command, sizeof command, "%s/out", folder);
    FILE *f = fopen(command, "r");
    assert_non_null(f);
    drawn[fread(drawn, 1, sizeof drawn - 1, f)] = 0;
    fclose(f);
    return status >> 8;
}

static void test_command(void **state) {
    (void)state;
    strcpy(folder, "/tmp/ctl_show_XXXXXX");
    assert_non_null(mkdtemp(folder));
    char path[128], command[128];
    snprintf(path, sizeof path, "%s/toy.ctl", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(SPEC, f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(run("'" CTLC "' graph toy.ctl"), 0);
    assert_string_equal(drawn, TEXT);
    assert_int_equal(run("'" CTLC "' graph toy.ctl -o net.txt && cat net.txt"), 0);
    assert_string_equal(drawn, TEXT);
    assert_int_equal(run("'" CTLC "' graph toy.ctl --format=dot --unfold part.1"), 0);
    well_formed();
    assert_int_equal(run("'" CTLC "' graph toy.ctl --out net.dot && cat net.dot"), 0);
    holds("digraph \"m\" {\n");
    assert_int_equal(run("'" CTLC "' graph toy.ctl --out net.dot --format text && cat net.dot"), 0);
    assert_string_equal(drawn, TEXT);
    assert_int_equal(run("'" CTLC "' graph toy.ctl --format png"), 2);
    holds("--format is text, dot or svg, not \"png\"");
    assert_int_equal(run("'" CTLC "' graph toy.ctl --out net.png"), 2);
    holds("pictures are SVG: --out NAME.svg. Others are Graphviz' own: --format dot | dot -Tpng");
    assert_int_equal(run("'" CTLC "' graph toy.ctl --unfold part.9"), 1);
    holds("there are: part.0..1");
    assert_int_equal(run("'" CTLC "' graph toy.ctl -o none/net.txt"), 4);
    /* Without Graphviz, and with something in its place. */
    assert_int_equal(run("PATH=/nowhere '" CTLC "' graph toy.ctl -o net.svg"), 7);
    holds("install the package graphviz");
    assert_int_equal(run("test -z \"$(ls | grep svg)\""), 0);
    assert_int_equal(run("mkdir bin && printf '#!/bin/sh\\necho \"$@\"; exec /bin/cat\\n' >bin/dot && chmod +x bin/dot && "
                         "PATH=\"$PWD/bin\" '" CTLC "' graph toy.ctl --format svg -o net.svg && cat net.svg"), 0);
    holds("-Tsvg\ndigraph \"m\" {\n");
    assert_int_equal(run("printf '#!/bin/sh\\nexit 1\\n' >bin/dot; PATH=\"$PWD/bin\" '" CTLC "' graph toy.ctl --format svg"), 4);
    holds("`dot` could not draw the network");
    /* The real one, where it is there: it takes what we write without a word. */
    if (system("command -v dot >/dev/null") != 0) print_message("SKIPPED: Graphviz is not there\n");
    else {
        assert_int_equal(run("'" CTLC "' graph toy.ctl --out net.svg"), 0);
        assert_string_equal(drawn, "");
        assert_int_equal(run("cat net.svg"), 0);
        holds("<svg ");
        holds("a NEW edge");
        holds("side: control.lowrank(x; rank)");
    }
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), cmocka_unit_test(test_lines),    cmocka_unit_test(test_dot),           cmocka_unit_test(test_form),
        cmocka_unit_test(test_legend),
        cmocka_unit_test(test_quoting), cmocka_unit_test(test_folding),       cmocka_unit_test(test_alike),
        cmocka_unit_test(test_command), cmocka_unit_test(test_unfold_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
