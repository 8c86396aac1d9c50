/* line_diff: lines that both texts begin or end with are put aside; of the rest the longest common subsequence is found by
 * Myers' walk over the number of edits. Texts that differ in more than MOST_EDITS lines are shown as replaced as a whole. */
#include "tools/ctlc/line_diff.h"

#include <stdlib.h>
#include <string.h>

enum { CONTEXT = 3, MOST_EDITS = 2000 };

typedef struct line {
    const char *at;
    size_t n;
} line;
typedef struct text {
    line *at;
    size_t n;
} text;

static bool split(text *t, const char *bytes, size_t size) {
    size_t most = 1;
    for (size_t i = 0; i < size; i++) most += bytes[i] == '\n';
    t->at = calloc(most, sizeof *t->at), t->n = 0;
    for (size_t begin = 0; t->at && begin < size;) {
        const char *end = memchr(bytes + begin, '\n', size - begin);
        size_t n = end ? (size_t)(end - (bytes + begin)) + 1 : size - begin; /* with its newline, where it has one */
        t->at[t->n++] = (line){bytes + begin, n};
        begin += n;
    }
    return t->at != NULL;
}

static bool equal(line a, line b) { return a.n == b.n && memcmp(a.at, b.at, a.n) == 0; }

/* Marks in gone[] and new[] the lines that are not common. reach[d] of the walk: how far along `a` d edits come on each
 * diagonal x - y; kept for all d, so that the way can be walked back. */
static bool compare(const line *a, ptrdiff_t n, const line *b, ptrdiff_t m, bool *gone, bool *new) {
    enum { ROW = 2 * MOST_EDITS + 3 };
    ptrdiff_t most = n + m < MOST_EDITS ? n + m : MOST_EDITS, found = -1;
    int **reach = calloc((size_t)most + 1, sizeof *reach), *now = calloc(ROW, sizeof *now);
    bool ok = reach && now;
    for (ptrdiff_t d = 0; ok && d <= most && found < 0; d++) {
        for (ptrdiff_t k = -d; k <= d; k += 2) {
            int *v = now + MOST_EDITS + 1 + k;
            ptrdiff_t x = k == -d || (k != d && v[-1] < v[1]) ? v[1] : v[-1] + 1, y = x - k;
            while (x < n && y < m && equal(a[x], b[y])) x++, y++;
            *v = (int)x;
            if (x >= n && y >= m) found = d;
        }
        reach[d] = malloc(sizeof **reach * (size_t)(2 * d + 3));
        ok = reach[d] != NULL;
        if (ok) memcpy(reach[d], now + MOST_EDITS - d, sizeof **reach * (size_t)(2 * d + 3));
    }
    if (ok && found < 0) {
        for (ptrdiff_t i = 0; i < n; i++) gone[i] = true;
        for (ptrdiff_t i = 0; i < m; i++) new[i] = true;
    }
    for (ptrdiff_t d = found, x = n, y = m; ok && d > 0; d--) {
        const int *v = reach[d - 1] + d; /* v[k]: diagonal k of d - 1 edits */
        ptrdiff_t k = x - y;
        bool down = k == -d || (k != d && v[k - 1] < v[k + 1]);
        x = down ? v[k + 1] : v[k - 1], y = x - (down ? k + 1 : k - 1);
        if (down) new[y] = true;
        else gone[x] = true;
    }
    for (ptrdiff_t d = 0; reach && d <= most; d++) free(reach[d]);
    free(reach), free(now);
    return ok;
}

static void print_line(FILE *to, char mark, line l) {
    fprintf(to, "%c%.*s%s", mark, (int)l.n, l.at, l.at[l.n - 1] == '\n' ? "" : "\n\\ No newline at end of file\n");
}

/* From a change to the last one that has at most 2 * CONTEXT common lines before it. */
static void print_hunk(FILE *to, const text *a, const text *b, const bool *gone, const bool *new, size_t *x, size_t *y) {
    size_t lead = *x < CONTEXT ? *x : CONTEXT, i = *x, j = *y, end_i = i, end_j = j;
    for (size_t common = 0; (i < a->n || j < b->n) && common <= 2 * CONTEXT;) {
        if (i < a->n && gone[i]) i++, common = 0;
        else if (j < b->n && new[j]) j++, common = 0;
        else i++, j++, common++;
        if (common == 0) end_i = i, end_j = j;
    }
    size_t tail = a->n - end_i < CONTEXT ? a->n - end_i : CONTEXT;
    size_t na = end_i + tail - (*x - lead), nb = end_j + tail - (*y - lead);
    fprintf(to, "@@ -%zu,%zu +%zu,%zu @@\n", *x - lead + (na > 0), na, *y - lead + (nb > 0), nb);
    for (size_t k = *x - lead; k < *x; k++) print_line(to, ' ', a->at[k]);
    for (i = *x, j = *y; i < end_i || j < end_j;) {
        if (i < end_i && gone[i]) print_line(to, '-', a->at[i++]);
        else if (j < end_j && new[j]) print_line(to, '+', b->at[j++]);
        else print_line(to, ' ', a->at[i]), i++, j++;
    }
    for (size_t k = end_i; k < end_i + tail; k++) print_line(to, ' ', a->at[k]);
    *x = end_i, *y = end_j;
}

bool line_diff_print(FILE *to, const char *name, const char *before, size_t nbefore, const char *after, size_t nafter) {
    text a = {0}, b = {0};
    bool ok = split(&a, before, nbefore) && split(&b, after, nafter);
    bool *gone = ok ? calloc(a.n + 1, 1) : NULL, *new = ok ? calloc(b.n + 1, 1) : NULL;
    ok = gone && new;
    if (ok) {
        size_t head = 0, tail = 0;
        while (head < a.n && head < b.n && equal(a.at[head], b.at[head])) head++;
        while (tail < a.n - head && tail < b.n - head && equal(a.at[a.n - 1 - tail], b.at[b.n - 1 - tail])) tail++;
        ok = compare(a.at + head, (ptrdiff_t)(a.n - head - tail), b.at + head, (ptrdiff_t)(b.n - head - tail), gone + head,
                     new + head);
    }
    if (ok) {
        fprintf(to, "--- %s\n+++ %s (formatted)\n", name, name);
        for (size_t x = 0, y = 0; x < a.n || y < b.n;) {
            if ((x < a.n && gone[x]) || (y < b.n && new[y])) print_hunk(to, &a, &b, gone, new, &x, &y);
            else x++, y++;
        }
    }
    free(a.at), free(b.at), free(gone), free(new);
    return ok;
}
