/* block_lives: the lives of the buffers of a training step over many like blocks, 25 a block: what forward
 * keeps for backward (born in order, dead in the reverse), forward's and backward's transients, a few in the
 * place of others, sizes of a transformer's (residual, heads, feed-forward) and their small companions. */
#ifndef TEST_BLOCK_LIVES_H
#define TEST_BLOCK_LIVES_H

#include "compiler/plan/layout.h"

enum { BLOCK_BUFFERS = 25, BLOCK_TASKS = 24 };

/* items has room for BLOCK_BUFFERS * blocks; widths of blocks differ a little unless `alike`. */
static inline void block_lives(ctl_layout_item *items, int32_t blocks, bool alike) {
    static const struct {
        size_t units;
        int32_t born, dead; /* tasks of the block, forward's 0 .. 11, backward's 12 .. 23 */
    } of[BLOCK_BUFFERS] = {{8, 0, 23},   {1, 0, 22},   {12, 1, 20},  {8, 2, 17},  {4, 3, 3},
                           {8, 4, 16},   {1, 4, 15},   {28, 6, 14},  {28, 7, 14}, {2, 8, 13},
                           {28, 8, 9},   {8, 9, 10},   {8, 5, 6},    {12, 1, 2},  {1, 3, 18},
                           {28, 12, 14}, {28, 13, 14}, {28, 13, 15}, {8, 15, 16}, {8, 16, 18},
                           {12, 17, 19}, {4, 17, 18},  {8, 19, 21},  {1, 20, 22}, {8, 21, 23}};
    for (int32_t b = 0; b < blocks; b++) {
        const size_t unit = 64 * (size_t)(alike ? 16 : 12 + b % 5);
        const int32_t half = BLOCK_TASKS / 2, forward = b * half, backward = (2 * blocks - 1 - b) * half;
        for (int32_t k = 0; k < BLOCK_BUFFERS; k++) {
            const int32_t born = of[k].born, dead = of[k].dead;
            items[b * BLOCK_BUFFERS + k] =
                (ctl_layout_item){unit * of[k].units, born < half ? forward + born : backward + born - half,
                                  dead < half ? forward + dead : backward + dead - half, 0};
        }
    }
}

#endif
