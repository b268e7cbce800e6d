/* SPDX-License-Identifier: Apache-2.0
 *
 * The vectors of one name of a head: where they lie, and how every sixteen become a block of codes.
 *
 * Rows are searched before they are coded, so coding moves none of them: a block holds its rows as they came, where a
 * built index orders them by coding error (flat/build.h). What that costs is the tightness of block maxima.
 *
 * Codes need a centre, which is made from the first vectors. Rows far from it have wide bounds, never wrong ones
 * (quant/int8.h B2). Coding needs memory and may be refused it: the rows are then scored plainly, and with the next
 * block it is tried again. */
#include "base/checked.h"
#include "base/status.h"
#include "head/head_state.h"
#include "kernel/distance.h"
#include "quant/int8.h"

#include <string.h>

/* Vectors that the centre is made from: their mean lies off that of all by a sixteenth of how they spread. */
enum { SAMPLE = 256 };

/* ---- Life -------------------------------------------------------------------------------------------------------- */

/* Codes and factors of whole blocks, and what kernels may read past them. */
static uint64_t code_bytes(const ki_head_block *block, size_t blocks) {
    return block->block_bytes ? blocks * block->block_bytes + KI_TILE_OVERREAD : 0;
}
static uint64_t factor_bytes(const ki_head_block *block, size_t blocks) {
    return block->block_bytes ? blocks * KI_FACTORS * sizeof(float) : 0;
}

enum { PARTS = 7 };

/* Where the parts of a block's memory begin, and how much it is; 0: too much. */
static uint64_t lay_out(const ki_head_block *block, size_t rows, uint64_t at[PARTS]) {
    const uint64_t size[PARTS] = {0, /* originals: below */
                                  rows * sizeof(uint64_t),
                                  block->metric == KITH_COSINE ? rows * sizeof(float) : 0,
                                  rows * sizeof(uint32_t),
                                  rows * sizeof(uint32_t),
                                  code_bytes(block, rows / KI_BLOCK),
                                  factor_bytes(block, rows / KI_BLOCK)};
    uint64_t total;
    at[0] = 0;
    if (!ki_mul(rows, block->row_bytes, &total) || total > PTRDIFF_MAX / 8) return 0;
    for (size_t i = 1; i < PARTS; i++) {
        at[i] = total = ki_round_up(total, 64);
        total += size[i];
    }
    return total;
}

kith_status ki_head_block_create(const kith_vector_spec *spec, size_t capacity, ki_head_block *block,
                                 kith_error *error) {
    *block = (ki_head_block){.metric = spec->metric             ? spec->metric
                                       : spec->dtype == KITH_B1 ? KITH_HAMMING
                                                                : KITH_L2SQ,
                             .dtype = spec->dtype ? spec->dtype : KITH_F32,
                             .dim = spec->dim};
    block->row_bytes = kith_row_bytes(block->dtype, block->dim);
    if (block->dtype != KITH_B1) block->block_bytes = (block->dim + 3) / 4 * KI_QUAD_BYTES;
    uint64_t at[PARTS];
    const uint64_t bytes = lay_out(block, capacity, at);
    if (!bytes)
        return ki_fail(error, KITH_E_LIMIT, "a head of %zu rows of %zu bytes is too large", capacity, block->row_bytes);
    uint8_t *memory = ki_alloc_array(bytes, 1);
    if (!memory) return ki_fail(error, KITH_E_NOMEM, "out of memory for the vectors of a head of %zu rows", capacity);
    block->memory = memory;
    block->originals = memory;
    block->labels = (uint64_t *)(void *)(memory + at[1]);
    block->norms2 = block->metric == KITH_COSINE ? (float *)(void *)(memory + at[2]) : NULL;
    block->serial = (uint32_t *)(void *)(memory + at[3]);
    block->place = (uint32_t *)(void *)(memory + at[4]);
    block->codes = memory + at[5];
    block->factors = (float *)(void *)(memory + at[6]);
    return KITH_OK;
}

void ki_head_block_destroy(ki_head_block *block) {
    ki_head_graph_destroy(atomic_load(&block->graph));
    ki_run_free(&block->run);
    ki_recipe_free(&block->recipe);
    free(block->memory);
}

uint64_t ki_head_block_bytes(const ki_head_block *block, size_t rows) {
    uint64_t at[PARTS];
    return lay_out(block, rows, at);
}

size_t ki_head_block_places(const ki_head_block *block, size_t count) {
    if (!count) return 0;
    const uint32_t place = block->place[count - 1];
    return place & KI_HEAD_ABSENT ? place & ~KI_HEAD_ABSENT : place + 1;
}

/* ---- Coding ------------------------------------------------------------------------------------------------------ */

/* A row as floats; cosine: of unit length. */
static void sample_row(const ki_head_block *block, size_t place, float *to) {
    ki_distance()->to_f32[block->dtype](block->originals + place * block->row_bytes, block->dim, to);
    if (block->metric != KITH_COSINE) return;
    const float inverse = ki_inverse_norm(ki_distance()->norm2[KITH_F32](to, block->dim));
    for (size_t j = 0; j < block->dim; j++) to[j] *= inverse;
}

/* Bytes are whole numbers which all fit around the middle of their range: their codes are exact (quant/int8.h B3). */
static ki_whole whole_of(const ki_head_block *block) {
    const int bytes = block->dtype == KITH_I8 || block->dtype == KITH_U8;
    return bytes && block->metric != KITH_COSINE ? KI_WHOLE_WIDE : KI_WHOLE_NOT;
}

/* Make recipe and run from the first vectors; 0: no memory, to be tried again. */
static int make_recipe(ki_head_block *block) {
    const size_t count = ki_min_size(block->places, SAMPLE), dim = block->dim;
    ki_recipe recipe = {0};
    float *sample = ki_alloc_array((uint64_t)count * dim, sizeof(float));
    if (!sample) return 0;
    for (size_t i = 0; i < count; i++) sample_row(block, i, sample + i * dim);
    const kith_status status = ki_recipe_make(sample, count, count, block->metric, block->dtype, dim, whole_of(block),
                                              KITH_FIRST_LEVEL_NONE, 1, &recipe);
    free(sample);
    if (status != KITH_OK) return 0;
    if (!ki_run_create(&recipe, KI_BLOCK, &block->run)) {
        ki_recipe_free(&recipe);
        return 0;
    }
    block->recipe = recipe;
    block->centre_norm = ki_length_above(ki_distance()->dot[KITH_F32](recipe.centre, recipe.centre, dim), dim);
    return 1;
}

static ki_row_fault code_block(ki_head_block *block, size_t number) {
    ki_run *run = &block->run;
    size_t row;
    run->count = KI_BLOCK;
    run->piece_count = 1;
    run->pieces[0] = (ki_run_piece){.count = KI_BLOCK};
    run->in_order = 1;
    memcpy(run->rows, block->originals + number * KI_BLOCK * block->row_bytes, KI_BLOCK * block->row_bytes);
    const ki_row_fault fault = ki_run_code(&block->recipe, run, &row);
    if (fault != KI_ROW_FINE) return fault;
    memcpy(block->codes + number * block->block_bytes, run->codes[0], block->block_bytes);
    memcpy(block->factors + number * KI_FACTORS, run->factors[0], KI_FACTORS * sizeof(float));
    return KI_ROW_FINE;
}

static void code_whole_blocks(ki_head_block *block) {
    if (block->uncodable || (!block->recipe.centre && (block->places < SAMPLE || !make_recipe(block)))) return;
    size_t coded = atomic_load_explicit(&block->coded, memory_order_relaxed);
    while ((coded + 1) * KI_BLOCK <= block->places) {
        const ki_row_fault fault = code_block(block, coded);
        if (fault != KI_ROW_FINE) {
            block->uncodable = fault != KI_ROW_NO_MEMORY;
            return;
        }
        atomic_store_explicit(&block->coded, ++coded, memory_order_release);
    }
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

void ki_head_block_append(ki_head_block *block, uint32_t serial, uint64_t key, const void *vector) {
    const size_t place = block->places;
    block->place[serial] = (uint32_t)place | (vector ? 0 : KI_HEAD_ABSENT);
    if (!vector) return;
    uint8_t *row = block->originals + place * block->row_bytes;
    memcpy(row, vector, block->row_bytes);
    block->labels[place] = key;
    block->serial[place] = serial;
    if (block->norms2) block->norms2[place] = ki_square(ki_distance(), block->dtype, row, block->dim);
    block->places++;
    if (block->block_bytes && block->places % KI_BLOCK == 0) code_whole_blocks(block);
}

void ki_head_block_cut(ki_head_block *block, size_t count) {
    block->places = ki_head_block_places(block, count);
    const size_t whole = block->places / KI_BLOCK;
    if (atomic_load_explicit(&block->coded, memory_order_relaxed) > whole)
        atomic_store_explicit(&block->coded, whole, memory_order_relaxed);
}
