/* ctl.y: the grammar. compiler/syntax/lines.c ends every line with NEWLINE, at a closing brace and at the end of the
 * file too, so a statement is always `... NEWLINE`. Words like `weight` are keywords by position alone: as `name` shows,
 * all but else, and, or, not can be names.
 *
 * After an error everything up to the end of the line is passed over; a block on that line is still read, so that one
 * run shows the errors inside it. The stacks have a fixed size (what nests more deeply is refused), so the parser asks
 * for no memory. */
%define api.prefix {ctl_yy}
%define api.pure full
%define api.location.type {ctl_span}
%define parse.error custom
%define parse.lac full
%define parse.lac.es-capacity-initial {200}
%locations
%expect 0
%param { ctl_parser *p }
%initial-action { @$ = (ctl_span){p->file, 0, 0}; }

%code requires {
#include "compiler/syntax/parser.h"
}

%code provides {
/* compiler/syntax/lines.c: the next token. */
int ctl_yylex(CTL_YYSTYPE *value, ctl_span *span, ctl_parser *p);
}

%code {
#define YYINITDEPTH 4000
#define YYMAXDEPTH YYINITDEPTH
#define YYMALLOC(size) ((void)(size), NULL)
#define YYFREE(at) ((void)(at))
#define YYLLOC_DEFAULT(current, rhs, n)                                                                      \
    ((current) = (n) ? ctl_span_join(YYRHSLOC(rhs, 1), YYRHSLOC(rhs, n))                                     \
                     : (ctl_span){YYRHSLOC(rhs, 0).file, YYRHSLOC(rhs, 0).end, YYRHSLOC(rhs, 0).end})

static void ctl_yyerror(const ctl_span *span, ctl_parser *p, const char *message);
static void add_decl(ctl_parser *p, ctl_decl *decl) { CTL_PUSH(p->arena, &p->decls, decl); }
}

%union {
    const char *name;
    ctl_number number;
    ctl_expr *expr;
    ctl_args *args;
    ctl_exprs *exprs;
    ctl_segments *path;
    ctl_segment *segment;
    ctl_paths *paths;
    ctl_stmt *stmt;
    ctl_stmts *stmts;
    ctl_parameter *parameter;
    ctl_parameters *parameters;
    ctl_signature signature;
    ctl_setting *setting;
    ctl_settings *settings;
    ctl_decl *decl;
}

%token END 0 "the end of the file"
%token NEWLINE "the end of the line"
%token <name> NAME "a name"
%token <number> NUMBER "a number" SIZES "a pair of sizes"
%token <name> IMPORT "import" FN "fn" NET "net" CONTROL "control" ON "on" MODEL "model" TUNE "tune" WITH "with"
%token <name> WEIGHT "weight" INIT "init" FOR "for" IN "in" IF "if" ELSE "else" TRAIN "train" FREEZE "freeze"
%token <name> AND "and" OR "or" NOT "not" TOKENS "tokens" COMPUTE "compute" STORE "store" AS "as" MEMORY "memory"
%token LARROW "<-" RARROW "->" SERIES "=>" EQ "==" NE "!=" LE "<=" GE ">=" DOTDOT ".." DEEP "**" DOTBRACE ".{"
%token TUNE_BRACE "'{'" /* of a tune block: what stands in it are settings, also behind a line that is not understood */

%left OR
%left AND
%precedence NOT
%nonassoc EQ NE '<' LE '>' GE
%left '+' '-'
%left '*' '/' '%' '@'
%precedence NEGATIVE
%right '^'

%type <name> name packed
%type <expr> expr turnable call labelled use argument value
%type <args> args named
%type <exprs> positions uses with
%type <path> path
%type <segment> segment
%type <paths> paths
%type <stmt> stmt if
%type <stmts> stmts block
%type <parameter> parameter input
%type <parameters> parameters inputs names
%type <signature> signature
%type <setting> setting
%type <settings> settings
%type <decl> tune

%%

file: decls ;
decls: %empty | decls decl NEWLINE | decls error NEWLINE { yyerrok; } | decls error passed NEWLINE { yyerrok; } ;

decl: IMPORT imports
    | FN name '(' names ')' '=' expr {
        ctl_decl *d = ctl_build_decl(p, @$, DECL_FN, @name, $name);
        d->inputs = $names->at, d->ninputs = $names->n, d->value = $expr;
        add_decl(p, d);
    }
    | NET name '(' signature ')' RARROW names block {
        ctl_decl *d = ctl_build_decl(p, @$, DECL_NET, @name, $name);
        if ($signature.inputs) d->inputs = $signature.inputs->at, d->ninputs = $signature.inputs->n;
        if ($signature.params) d->params = $signature.params->at, d->nparams = $signature.params->n;
        d->outputs = $names->at, d->noutputs = $names->n, d->body = ctl_build_block($block);
        add_decl(p, d);
    }
    | CONTROL name '(' ')' ON path block {
        ctl_decl *d = ctl_build_decl(p, @$, DECL_CONTROL, @name, $name);
        d->target = ctl_build_path($path), d->body = ctl_build_block($block);
        add_decl(p, d);
    }
    | CONTROL name '(' parameters ')' ON path block {
        ctl_decl *d = ctl_build_decl(p, @$, DECL_CONTROL, @name, $name);
        d->params = $parameters->at, d->nparams = $parameters->n;
        d->target = ctl_build_path($path), d->body = ctl_build_block($block);
        add_decl(p, d);
    }
    | MODEL name '=' call {
        ctl_decl *d = ctl_build_decl(p, @$, DECL_MODEL, @name, $name);
        d->value = $call;
        add_decl(p, d);
    }
    | tune { $tune->span = @$, add_decl(p, $tune); }
    | tune TUNE_BRACE settings '}' {
        $tune->span = @$, $tune->settings = $settings->at, $tune->nsettings = $settings->n;
        add_decl(p, $tune);
    }
    ;

imports: import | imports ',' import ;
import: name { add_decl(p, ctl_build_decl(p, @name, DECL_IMPORT, @name, $name)); } ;

names: name { $$ = CTL_LIST(p, ctl_parameters); CTL_PUSH(p->arena, $$, ctl_build_parameter(@name, $name, NULL, NULL)); }
     | names ',' name { $$ = $1; CTL_PUSH(p->arena, $$, ctl_build_parameter(@name, $name, NULL, NULL)); }
     ;

signature: %empty { $$ = (ctl_signature){NULL, NULL}; }
    | inputs { $$ = (ctl_signature){$inputs, NULL}; }
    | ';' parameters { $$ = (ctl_signature){NULL, $parameters}; }
    | inputs ';' parameters { $$ = (ctl_signature){$inputs, $parameters}; }
    ;
inputs: input { $$ = CTL_LIST(p, ctl_parameters); CTL_PUSH(p->arena, $$, *$input); }
    | inputs ',' input { $$ = $1; CTL_PUSH(p->arena, $$, *$input); }
    ;
input: name { $$ = CTL_LIST(p, ctl_parameter); *$$ = ctl_build_parameter(@$, $name, NULL, NULL); }
    | name ':' name[kind] { $$ = CTL_LIST(p, ctl_parameter); *$$ = ctl_build_parameter(@$, $1, $kind, NULL); }
    | name ':' name[kind] name[per] name[what] {
        if (strcmp($per, "per") != 0 || strcmp($what, "sequence") != 0)
            ctl_error(p->sink, CTL_E0102, @per, "write `NAME: id`, or `NAME: id per sequence`", "expected 'per sequence', found '%s %s'",
                      $per, $what);
        $$ = CTL_LIST(p, ctl_parameter);
        *$$ = ctl_build_parameter(@$, $1, $kind, NULL);
        $$->per_sequence = true;
    }
    ;
parameters: parameter { $$ = CTL_LIST(p, ctl_parameters); CTL_PUSH(p->arena, $$, *$parameter); }
    | parameters ',' parameter { $$ = $1; CTL_PUSH(p->arena, $$, *$parameter); }
    ;
parameter: name { $$ = CTL_LIST(p, ctl_parameter); *$$ = ctl_build_parameter(@$, $name, NULL, NULL); }
    | name '=' expr { $$ = CTL_LIST(p, ctl_parameter); *$$ = ctl_build_parameter(@$, $name, NULL, $expr); }
    ;

tune: TUNE path with {
        $$ = ctl_build_decl(p, @$, DECL_TUNE, @TUNE, NULL);
        $$->target = ctl_build_path($path), $$->controls = $with->at, $$->ncontrols = $with->n;
    }
    | TUNE name '=' path with {
        $$ = ctl_build_decl(p, @$, DECL_TUNE, @name, $name);
        $$->target = ctl_build_path($path), $$->controls = $with->at, $$->ncontrols = $with->n;
    }
    ;
with: %empty { $$ = CTL_LIST(p, ctl_exprs); } | WITH uses { $$ = $uses; } ;
uses: use { $$ = CTL_LIST(p, ctl_exprs); CTL_PUSH(p->arena, $$, $use); }
    | uses ',' use { $$ = $1; CTL_PUSH(p->arena, $$, $use); }
    ;
use: path '(' ')' { $$ = ctl_build_call(p, @$, NULL, $path, CTL_LIST(p, ctl_args)); }
    | path '(' named ')' { $$ = ctl_build_call(p, @$, NULL, $path, $named); }
    | path '(' ';' named ')' { $$ = ctl_build_call(p, @$, NULL, $path, $named); }
    ;

settings: %empty { $$ = CTL_LIST(p, ctl_settings); }
    | settings setting NEWLINE { $$ = $1; CTL_PUSH(p->arena, $$, *$setting); }
    | settings error NEWLINE { $$ = $1; yyerrok; }
    ;
setting: TOKENS SIZES packed { $$ = CTL_LIST(p, ctl_setting); *$$ = ctl_build_tokens(p, @$, $2, (ctl_number){$2.second, 0, true}, $packed); }
    | TOKENS NUMBER packed { $$ = CTL_LIST(p, ctl_setting); *$$ = ctl_build_tokens(p, @$, $2, (ctl_number){0, 0, true}, $packed); }
    | TOKENS NUMBER name[times] NUMBER packed {
        if (strcmp($times, "x") != 0)
            ctl_error(p->sink, CTL_E0102, @times, "write `tokens SEQUENCES x LENGTH`", "expected 'x', found '%s'", $times);
        $$ = CTL_LIST(p, ctl_setting);
        *$$ = ctl_build_tokens(p, @$, $2, $4, $packed);
    }
    | COMPUTE name {
        $$ = CTL_LIST(p, ctl_setting);
        *$$ = (ctl_setting){.span = @$, .name = "compute", .word = $name};
    }
    | STORE paths AS name { $$ = CTL_LIST(p, ctl_setting); *$$ = ctl_build_store(@$, $paths, $name); }
    | MEMORY NUMBER name { $$ = CTL_LIST(p, ctl_setting); *$$ = ctl_build_memory(p, @$, $2, @name, $name); }
    | call { $$ = CTL_LIST(p, ctl_setting); *$$ = ctl_build_call_setting(@$, $1); }
    ;
packed: %empty { $$ = NULL; } | name ;

block: '{' stmts '}' { $$ = $stmts; } ;
passed: '{' { yyerrok; } stmts '}' | TUNE_BRACE { yyerrok; } settings '}' ; /* the block of a line that is not understood */
stmts: %empty { $$ = CTL_LIST(p, ctl_stmts); }
    | stmts stmt NEWLINE { $$ = $1; CTL_PUSH(p->arena, $$, $stmt); }
    | stmts error NEWLINE { $$ = $1; yyerrok; }
    | stmts error passed NEWLINE { $$ = $1; yyerrok; }
    ;
stmt: WEIGHT paths ':' '[' expr ']' value { $$ = ctl_build_weight(p, @$, $paths, $expr, NULL, $value); }
    | WEIGHT paths ':' '[' expr[rows] ',' expr[cols] ']' value { $$ = ctl_build_weight(p, @$, $paths, $rows, $cols, $value); }
    | path LARROW expr { $$ = ctl_build_stmt(p, @$, STMT_EDGE, $path, $expr); }
    | path '=' expr { $$ = ctl_build_stmt(p, @$, STMT_VALUE, $path, $expr); }
    | path SERIES labelled { $$ = ctl_build_stmt(p, @$, STMT_SERIES, $path, $labelled); }
    | path '~' labelled { $$ = ctl_build_stmt(p, @$, STMT_TILDE, $path, $labelled); }
    | path[label] ':' path[callee] '(' args ')' {
        $$ = ctl_build_stmt(p, @$, STMT_INSTANCE, NULL, ctl_build_call(p, @$, $label, $callee, $args));
    }
    | FOR name IN expr[lo] DOTDOT expr[hi] block { $$ = ctl_build_for(p, @$, $name, $lo, $hi, $block); }
    | if
    | TRAIN paths { $$ = ctl_build_paths(p, @$, STMT_TRAIN, $paths); }
    | FREEZE paths { $$ = ctl_build_paths(p, @$, STMT_FREEZE, $paths); }
    ;
value: %empty { $$ = NULL; } | INIT expr { $$ = $expr; } ;
if: IF expr block { $$ = ctl_build_if(p, @$, $expr, $block, NULL); }
    | IF expr block[then] ELSE block[orelse] { $$ = ctl_build_if(p, @$, $expr, $then, $orelse); }
    | IF expr block ELSE if[next] {
        ctl_stmts *orelse = CTL_LIST(p, ctl_stmts);
        CTL_PUSH(p->arena, orelse, $next);
        $$ = ctl_build_if(p, @$, $expr, $block, orelse);
    }
    ;

paths: path { $$ = CTL_LIST(p, ctl_paths); CTL_PUSH(p->arena, $$, ctl_build_path($path)); }
    | paths ',' path { $$ = $1; CTL_PUSH(p->arena, $$, ctl_build_path($path)); }
    ;
path: name { $$ = ctl_build_segment(p, NULL, (ctl_segment){SEG_NAME, @name, .name = $name}); }
    | DEEP { $$ = ctl_build_segment(p, NULL, (ctl_segment){SEG_DEEP, @DEEP}); }
    | path segment { $$ = ctl_build_segment(p, $1, *$segment); }
    ;
segment: '.' name { $$ = CTL_LIST(p, ctl_segment); *$$ = (ctl_segment){SEG_NAME, @$, .name = $name}; }
    | '.' DEEP { $$ = CTL_LIST(p, ctl_segment); *$$ = (ctl_segment){SEG_DEEP, @$}; }
    | '[' expr ']' { $$ = CTL_LIST(p, ctl_segment); *$$ = (ctl_segment){SEG_INDEX, @$, .index = $expr}; }
    | '[' '*' ']' { $$ = CTL_LIST(p, ctl_segment); *$$ = (ctl_segment){SEG_STAR, @$}; }
    | DOTBRACE paths '}' { $$ = CTL_LIST(p, ctl_segment); *$$ = ctl_build_braces(@$, $paths); }
    ;

expr: NUMBER { $$ = ctl_build_number(p, @$, $NUMBER); }
    | path { $$ = ctl_build_path_expr(p, @$, $path); }
    | turnable
    | '-' expr[a] %prec NEGATIVE { $$ = ctl_build_unary(p, @$, '-', $a); }
    | NOT expr[a] { $$ = ctl_build_unary(p, @$, 'n', $a); }
    | expr[a] '^' expr[b] { $$ = ctl_build_binary(p, @$, BIN_POW, $a, $b); }
    | expr[a] '*' expr[b] { $$ = ctl_build_binary(p, @$, BIN_MUL, $a, $b); }
    | expr[a] '/' expr[b] { $$ = ctl_build_binary(p, @$, BIN_DIV, $a, $b); }
    | expr[a] '%' expr[b] { $$ = ctl_build_binary(p, @$, BIN_MOD, $a, $b); }
    | expr[a] '@' expr[b] { $$ = ctl_build_binary(p, @$, BIN_MATMUL, $a, $b); }
    | expr[a] '+' expr[b] { $$ = ctl_build_binary(p, @$, BIN_ADD, $a, $b); }
    | expr[a] '-' expr[b] { $$ = ctl_build_binary(p, @$, BIN_SUB, $a, $b); }
    | expr[a] '<' expr[b] { $$ = ctl_build_binary(p, @$, BIN_LT, $a, $b); }
    | expr[a] LE expr[b] { $$ = ctl_build_binary(p, @$, BIN_LE, $a, $b); }
    | expr[a] '>' expr[b] { $$ = ctl_build_binary(p, @$, BIN_GT, $a, $b); }
    | expr[a] GE expr[b] { $$ = ctl_build_binary(p, @$, BIN_GE, $a, $b); }
    | expr[a] EQ expr[b] { $$ = ctl_build_binary(p, @$, BIN_EQ, $a, $b); }
    | expr[a] NE expr[b] { $$ = ctl_build_binary(p, @$, BIN_NE, $a, $b); }
    | expr[a] AND expr[b] { $$ = ctl_build_binary(p, @$, BIN_AND, $a, $b); }
    | expr[a] OR expr[b] { $$ = ctl_build_binary(p, @$, BIN_OR, $a, $b); }
    ;
turnable: labelled
    | '(' expr[inner] ')' { $$ = $inner; }
    | turnable[a] '.' name {
        if (strcmp($name, "T") != 0)
            ctl_error(p->sink, CTL_E0102, @name, "give the call a label, and use LABEL.NAME",
                      "expected 'T', found '%s': a value has no parts", $name);
        $$ = ctl_build_unary(p, @$, 'T', $a);
    }
    ;
labelled: call | path[label] ':' path[callee] '(' args ')' { $$ = ctl_build_call(p, @$, $label, $callee, $args); } ;
call: path '(' args ')' { $$ = ctl_build_call(p, @$, NULL, $path, $args); } ;

args: %empty { $$ = CTL_LIST(p, ctl_args); }
    | positions { $$ = CTL_LIST(p, ctl_args); $$->list = *$positions; }
    | ';' named { $$ = $named; }
    | positions ';' named { $$ = $named; $$->list = *$positions; }
    ;
positions: argument { $$ = CTL_LIST(p, ctl_exprs); CTL_PUSH(p->arena, $$, $argument); }
    | positions ',' argument { $$ = $1; CTL_PUSH(p->arena, $$, $argument); }
    ;
argument: expr | expr[a] DOTDOT expr[b] { $$ = ctl_build_range(p, @$, $a, $b); } ;
named: name { $$ = CTL_LIST(p, ctl_args); CTL_PUSH(p->arena, &$$->named, (ctl_named_arg){@name, $name, NULL}); }
    | name '=' expr { $$ = CTL_LIST(p, ctl_args); CTL_PUSH(p->arena, &$$->named, (ctl_named_arg){@$, $name, $expr}); }
    | DOTDOT { $$ = CTL_LIST(p, ctl_args); $$->rest = true; }
    | named ',' name { $$ = $1; CTL_PUSH(p->arena, &$$->named, (ctl_named_arg){@name, $name, NULL}); }
    | named ',' name '=' expr {
        $$ = $1;
        CTL_PUSH(p->arena, &$$->named, (ctl_named_arg){ctl_span_join(@name, @expr), $name, $expr});
    }
    | named ',' DOTDOT { $$ = $1; $$->rest = true; }
    ;

name: NAME | IMPORT | FN | NET | CONTROL | ON | MODEL | TUNE | WITH | WEIGHT | INIT | FOR | IN | IF | TRAIN | FREEZE
    | TOKENS | COMPUTE | STORE | AS | MEMORY ;

%%

static int yyreport_syntax_error(const yypcontext_t *context, ctl_parser *p) {
    yysymbol_kind_t symbols[YYNTOKENS];
    const char *names[YYNTOKENS];
    int n = yypcontext_expected_tokens(context, symbols, YYNTOKENS);
    for (int i = 0; i < n; i++) names[i] = yysymbol_name(symbols[i]);
    ctl_expected_report(p, names, n < 0 ? 0 : n);
    return 0;
}

/* Called for full stacks alone: syntax errors go to yyreport_syntax_error. */
static void ctl_yyerror(const ctl_span *span, ctl_parser *p, const char *message) {
    (void)message;
    ctl_expected_too_deep(p, *span, "the source");
}
