/* SPDX-License-Identifier: Apache-2.0
 *
 * Levels that searches make of a file's floats. The first level's basis: its directions are to the queries what
 * centroids are, vectors to be multiplied with, so that a query's place in it comes from integer products too, the same
 * on every tier and in every batch; its errors, of 1 %, are far below what the first level leaves out. And the supers,
 * of which a query looks into the best where lists are many. */
#include "ivf/state.h"

#include "base/checked.h"
#include "quant/int8.h"

#include <math.h>

/* A level under construction: what is not laid never wins. */
struct maker {
    ki_tile_room room;
    float *values;
    int8_t *code;
    size_t dim, blocks;
};

static int begin(struct maker *m, size_t dim, size_t count) {
    const size_t quads = (dim + 3) / 4, blocks = (count + KI_BLOCK - 1) / KI_BLOCK;
    const size_t code_bytes = (size_t)ki_round_up(blocks * quads * KI_QUAD_BYTES + KI_TILE_OVERREAD, 64);
    uint8_t *codes = ki_alloc_array_zeroed(code_bytes + blocks * KI_FACTORS * sizeof(float), 1);
    m->values = ki_alloc_array_zeroed(dim + quads, sizeof(float)); /* and a code, zero behind dim */
    if (!codes || !m->values) {
        free(codes);
        free(m->values);
        return 0;
    }
    m->room = (ki_tile_room){codes, (float *)(void *)(codes + code_bytes), quads};
    m->code = (int8_t *)(m->values + dim);
    m->dim = dim;
    m->blocks = blocks;
    ki_tile_clear(&m->room, 0, blocks);
    return 1;
}

/* m->values as vector v, with the bias less `share` of their squared length. A damaged file's may be infinite or NaN:
 * then nothing is laid. */
static void lay(struct maker *m, size_t v, float bias, float share) {
    float largest = 0, norm2 = 0;
    ki_int8_facts facts;
    for (size_t j = 0; j < m->dim; j++) {
        largest = fabsf(m->values[j]) > largest ? fabsf(m->values[j]) : largest;
        norm2 += m->values[j] * m->values[j];
    }
    if (!isfinite(norm2)) return;
    ki_int8_encode(m->values, m->dim, largest, norm2, m->code, &facts);
    ki_tile_put(&m->room, v, m->code,
                (float[]){facts.scale, bias - share * norm2, 0, 0}); /* scored by estimates alone */
}

static void finish(struct maker *m, ki_ivf_level *out) {
    free(m->values);
    out->level = (ki_level){m->room.codes, m->room.factors, m->room.quads, m->blocks};
    out->memory = m->room.codes;
}

/* A query's place in the basis is relative to another centre than its code. */
int ki_ivf_make_basis(const ki_view *view, ki_ivf_level *basis) {
    const size_t columns = 4 * view->level1.quads;
    struct maker m;
    if (basis->level.blocks) return 1;
    if (!begin(&m, view->dim, columns)) return 0;
    for (size_t c = 0; c < columns; c++) {
        float offset = 0;
        for (size_t j = 0; j < view->dim; j++) {
            m.values[j] = view->basis[j * columns + c];
            if (view->metric == KITH_L2SQ) offset += m.values[j] * (view->centre[j] - view->level1_centre[j]);
        }
        lay(&m, c, offset, 0);
    }
    finish(&m, basis);
    return 1;
}

static int descending(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x < y) - (x > y);
}

/* The most blocks that so many supers touch. */
static int count_blocks(const ki_lists *lists, size_t visits, size_t *most) {
    uint32_t *blocks = ki_alloc_array(lists->supers, sizeof(*blocks));
    if (!blocks) return 0;
    for (size_t s = 0; s < lists->supers; s++)
        blocks[s] = (uint32_t)(ki_super_end_block(lists, s) - ki_super_first_block(lists, s));
    qsort(blocks, lists->supers, sizeof(*blocks), descending);
    *most = 0;
    for (size_t s = 0; s < visits; s++) *most += blocks[s];
    free(blocks);
    return 1;
}

int ki_ivf_make_supers(const ki_view *view, size_t visits, ki_ivf_level *supers) {
    const ki_lists *lists = &view->lists;
    struct maker m;
    if (supers->level.blocks) return 1;
    if (!count_blocks(lists, visits, &supers->row_blocks) || !begin(&m, view->dim, lists->supers)) return 0;
    for (size_t s = 0; s < lists->supers; s++) {
        for (size_t j = 0; j < view->dim; j++)
            m.values[j] = lists->super_centroids[s * view->dim + j] - view->centre[j];
        lay(&m, s, 0, view->metric == KITH_L2SQ ? 0.5F : 0);
    }
    finish(&m, supers);
    return 1;
}
