/* print: a tree as canonical source text. Parsing what was printed gives the same tree. */
#ifndef CTL_PRINT_H
#define CTL_PRINT_H

#include "compiler/syntax/ast.h"

void ctl_ast_print(const ctl_ast_module *module, ctl_text *out);
void ctl_ast_print_decl(const ctl_decl *decl, ctl_text *out);
/* One line, without a newline: for messages and tests. */
void ctl_ast_print_expr(const ctl_expr *expr, ctl_text *out);
void ctl_ast_print_path(const ctl_path *path, ctl_text *out);

#endif
