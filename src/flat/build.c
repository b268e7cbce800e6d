/* SPDX-License-Identifier: Apache-2.0
 *
 * Coding runs of rows. */
#include "flat/build.h"

#include "base/checked.h"
#include "kernel/distance.h"
#include "kernel/project.h"
#include "kernel/tile.h"
#include "quant/int8.h"
#include "quant/level1.h"

#include <math.h>
#include <string.h>

static size_t quads_of(const ki_recipe *recipe, int level) {
    return level ? recipe->level1_columns / 4 : (recipe->dim + 3) / 4;
}

size_t ki_recipe_block_bytes(const ki_recipe *recipe, int level1) {
    return recipe->dtype == KITH_B1 ? 0 : quads_of(recipe, level1) * KI_QUAD_BYTES;
}

/* ---- Runs -------------------------------------------------------------------------------------------------------- */

enum { STRIP = 96, STRIP_LEAST = 6, STRIP_BYTES = 1 << 20, FACTS = 4 };

/* More than the length of what rounding does to a vector of length 1. */
#define UNIT_ROUNDING 0x1p-23f

static size_t padded(size_t rows) {
    return (size_t)ki_round_up(rows, KI_BLOCK);
}

static size_t floats_per_row(const ki_recipe *recipe) {
    return 2 * recipe->dim + recipe->level1_columns;
}

/* Rows whose floats are worked on together: they stay in the L2 cache, and memory stays bounded however wide they
 * are. */
static size_t strip_rows(const ki_recipe *recipe) {
    const size_t fit = STRIP_BYTES / (floats_per_row(recipe) * sizeof(float));
    return fit < STRIP_LEAST ? STRIP_LEAST : ki_min_size(fit, STRIP);
}

static size_t strip_floats(const ki_recipe *recipe) {
    return strip_rows(recipe) * floats_per_row(recipe);
}

size_t ki_run_bytes_per_row(const ki_recipe *recipe) {
    const size_t code_bytes = 4 * (quads_of(recipe, 0) + quads_of(recipe, 1));
    return 2 * recipe->row_bytes + 2 * code_bytes + 2 * FACTS * 4 + KI_FACTORS * 4 / KI_BLOCK * 2 + 16 +
           (recipe->second ? recipe->second->block_bytes / KI_BLOCK + KI_FACTORS * 4 / KI_BLOCK : 0) +
           strip_floats(recipe) * 4 / 1024;
}

/* Room for the residuals of a block, and for the second code's own work. */
static size_t second_work_bytes(const ki_recipe *recipe) {
    if (!recipe->second) return 0;
    return (size_t)ki_round_up(KI_BLOCK * recipe->dim * sizeof(float), 64) * 2 + ki_second_encode_bytes(recipe->second);
}

int ki_run_create(const ki_recipe *recipe, size_t capacity, ki_run *run) {
    const size_t places = padded(capacity), blocks = places / KI_BLOCK;
    const size_t piece[] = {capacity * recipe->row_bytes,
                            capacity * recipe->row_bytes,
                            places * sizeof(uint32_t),
                            places * sizeof(float),
                            blocks * ki_recipe_block_bytes(recipe, 0),
                            blocks * ki_recipe_block_bytes(recipe, 1),
                            blocks * KI_FACTORS * sizeof(float) * 2,
                            places * 4 * quads_of(recipe, 0),
                            places * 4 * quads_of(recipe, 1),
                            places * 2 * FACTS * sizeof(float),
                            strip_floats(recipe) * sizeof(float),
                            blocks * sizeof(ki_run_piece),
                            recipe->second ? blocks * recipe->second->block_bytes : 0,
                            recipe->second ? blocks * KI_FACTORS * sizeof(float) : 0,
                            second_work_bytes(recipe),
                            places * sizeof(float)};
    enum { PIECES = sizeof(piece) / sizeof(*piece) };
    uint64_t at[PIECES], total = 0;
    for (size_t i = 0; i < PIECES; i++) {
        at[i] = total;
        total += ki_round_up(piece[i] + 64, 64);
    }
    uint8_t *memory = ki_alloc_array(total, 1);
    if (!memory) return 0;
    *run = (ki_run){.capacity = capacity, .memory = memory};
    run->rows = memory + at[0];
    run->originals = memory + at[1];
    run->order = (uint32_t *)(void *)(memory + at[2]);
    run->inverse_norms = (float *)(void *)(memory + at[3]);
    run->codes[0] = memory + at[4];
    run->codes[1] = memory + at[5];
    run->factors[0] = (float *)(void *)(memory + at[6]);
    run->factors[1] = run->factors[0] + blocks * KI_FACTORS;
    run->flat_codes[0] = (int8_t *)(memory + at[7]);
    run->flat_codes[1] = (int8_t *)(memory + at[8]);
    run->facts = (float *)(void *)(memory + at[9]);
    run->residual = (float *)(void *)(memory + at[10]);
    run->values = run->residual + strip_rows(recipe) * recipe->dim;
    run->projected = run->values + strip_rows(recipe) * recipe->dim;
    run->pieces = (ki_run_piece *)(void *)(memory + at[11]);
    run->second_codes = memory + at[12];
    run->second_factors = (float *)(void *)(memory + at[13]);
    run->second_work = memory + at[14];
    run->norms2 = (float *)(void *)(memory + at[15]);
    return 1;
}

void ki_run_free(ki_run *run) {
    free(run->memory);
    *run = (ki_run){0};
}

/* facts of place i at a level: scale, bias, norm, error. */
static float *facts_at(const ki_run *run, int level, size_t row) {
    return run->facts + ((size_t)level * padded(run->capacity) + row) * FACTS;
}

static void keep_facts(ki_run *run, int level, size_t row, float bias, const ki_int8_facts *facts) {
    float *to = facts_at(run, level, row);
    to[0] = facts->scale;
    to[1] = bias;
    to[2] = facts->norm;
    to[3] = facts->error;
}

/* A multiple of 2^-24: sums of these are exact, so that the number of threads does not show in the file. */
static double share(float part, float whole) {
    return floor((double)(part / whole) * 0x1p24) * 0x1p-24;
}

static float row_factor(const ki_recipe *recipe, const ki_run *run, size_t row) {
    return recipe->metric == KITH_COSINE ? run->inverse_norms[row] : 1;
}

/* The full code of one row; without lists it leaves its residual to the level-1 centre in the strip. */
static ki_row_fault code_row(const ki_recipe *recipe, ki_run *run, ki_run_piece *piece, size_t row, size_t in_strip,
                             const float *value) {
    const size_t dim = recipe->dim, bytes = 4 * quads_of(recipe, 0);
    float *residual = run->residual + in_strip * dim, largest, norm2;
    int8_t *code = run->flat_codes[0] + row * bytes;
    const float factor = row_factor(recipe, run, row);
    const float *centroid = recipe->lists ? recipe->centroids + piece->list * dim : NULL;
    const int relative = centroid && !recipe->whole; /* to the list's centroid */
    ki_int8_facts facts;
    ki_projector()->centre(value, factor, relative ? centroid : recipe->centre, dim, residual, &largest, &norm2);
    memset(code + dim, 0, bytes - dim);
    if (recipe->whole) {
        const ki_row_fault fault = ki_recipe_holds(recipe, value);
        if (fault != KI_ROW_FINE) return fault;
        ki_int8_encode_whole(residual, dim, norm2, code, &facts);
    } else {
        ki_int8_encode(residual, dim, largest, norm2, code, &facts);
    }
    if (relative && recipe->metric == KITH_COSINE) { /* x/|x| was rounded before the centroid was taken off */
        facts.norm += UNIT_ROUNDING;
        facts.error += UNIT_ROUNDING;
    }
    float bias = 0, length = facts.norm;
    if (recipe->metric == KITH_L2SQ)
        bias = relative ? ki_residual_bias(centroid, recipe->centre, residual, dim) : -norm2 / 2;
    keep_facts(run, 0, row, bias, &facts);
    if (facts.norm > 0) run->error_sum[0] += share(facts.error, facts.norm);
    if (centroid && recipe->whole) {
        ki_projector()->centre(value, factor, centroid, dim, residual, &largest, &norm2);
        length = ki_length_above(norm2, dim);
    }
    if (length > piece->radius) piece->radius = length;
    return KI_ROW_FINE;
}

static void code_strip_level1(const ki_recipe *recipe, ki_run *run, size_t first, size_t count, const float *values) {
    const size_t dim = recipe->dim, columns = recipe->level1_columns;
    float largest, norm2[STRIP];
    for (size_t i = 0; i < count; i++) {
        if (recipe->whole || recipe->lists)
            ki_projector()->centre(values + i * dim, row_factor(recipe, run, first + i), recipe->level1_centre, dim,
                                   run->residual + i * dim, &largest, &norm2[i]);
        else
            norm2[i] = ki_distance()->dot[KITH_F32](run->residual + i * dim, run->residual + i * dim, dim);
    }
    ki_projector()->project(run->residual, count, dim, recipe->basis, columns, run->projected);
    for (size_t i = 0; i < count; i++) {
        ki_int8_facts facts;
        int8_t *code = run->flat_codes[1] + (first + i) * columns;
        ki_level1_encode(run->projected + i * columns, dim, columns, norm2[i], recipe->kappa, code, &facts);
        keep_facts(run, 1, first + i, recipe->metric == KITH_L2SQ ? -norm2[i] / 2 : 0, &facts);
        if (facts.norm > 0) run->error_sum[1] += share(2 * facts.scale * (float)code[columns - 1], facts.norm);
    }
}

/* Rows of a strip as floats, converted into `room` where they are not. */
static const float *as_floats(const ki_recipe *recipe, const uint8_t *rows, size_t count, float *room) {
    if (recipe->dtype == KITH_F32) return (const float *)(const void *)rows;
    ki_distance()->to_f32[recipe->dtype](rows, count * recipe->dim, room);
    return room;
}

static ki_row_fault code_strip(const ki_recipe *recipe, ki_run *run, ki_run_piece *piece, size_t first, size_t count,
                               size_t *bad) {
    const size_t dim = recipe->dim;
    const uint8_t *rows = run->rows + first * recipe->row_bytes;
    const float *values = as_floats(recipe, rows, count, run->values);
    for (size_t i = 0; i < count; i++) {
        double norm2;
        ki_row_fault fault = ki_row_check(recipe->metric, recipe->dtype, rows + i * recipe->row_bytes, dim, &norm2);
        if (fault == KI_ROW_FINE) {
            if (recipe->metric == KITH_COSINE) run->inverse_norms[first + i] = ki_inverse_norm(norm2);
            fault = code_row(recipe, run, piece, first + i, i, values + i * dim);
        }
        if (fault != KI_ROW_FINE) {
            *bad = first + i;
            return fault;
        }
    }
    if (recipe->level1_columns) code_strip_level1(recipe, run, first, count, values);
    return KI_ROW_FINE;
}

struct key {
    float error;
    uint32_t row;
};

static int compare_keys(const void *a, const void *b) {
    const struct key *x = a, *y = b;
    if (x->error != y->error) return x->error < y->error ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Rows of each piece by ascending coding error. */
static int order_run(const ki_recipe *recipe, ki_run *run) {
    if (run->in_order) {
        for (size_t i = 0; i < run->count; i++) run->order[i] = (uint32_t)i;
        return 1;
    }
    struct key *keys = ki_alloc_array(run->count, sizeof(*keys));
    if (!keys) return 0;
    for (size_t i = 0; i < run->count; i++)
        keys[i] = (struct key){facts_at(run, recipe->level1_columns != 0, i)[3], (uint32_t)i};
    size_t first = 0;
    for (size_t p = 0; p < run->piece_count; first += run->pieces[p++].count)
        qsort(keys + first, run->pieces[p].count, sizeof(*keys), compare_keys);
    for (size_t i = 0; i < run->count; i++) run->order[i] = keys[i].row;
    free(keys);
    return 1;
}

/* Lay the codes of the places first..end, or sixteen of them, out as a block; what is left of it never wins. */
static void lay_block(const ki_recipe *recipe, ki_run *run, int level, size_t block, size_t first, size_t end) {
    const ki_tile_room room = {run->codes[level], run->factors[level], quads_of(recipe, level)};
    if (end - first < KI_BLOCK) ki_tile_clear(&room, block, block + 1);
    for (size_t place = first; place < end && place < first + KI_BLOCK; place++) {
        const size_t row = run->order[place];
        ki_tile_put(&room, block * KI_BLOCK + place - first, run->flat_codes[level] + row * 4 * room.quads,
                    facts_at(run, level, row));
    }
}

/* The second code of a block: of residuals to the list's centroid or to the centre, made anew in the run's order. */
static void lay_second(const ki_recipe *recipe, ki_run *run, const ki_run_piece *piece, size_t block, size_t first,
                       size_t end) {
    const size_t dim = recipe->dim, room = (size_t)ki_round_up(KI_BLOCK * dim * sizeof(float), 64);
    const unsigned count = (unsigned)ki_min_size(KI_BLOCK, end - first);
    const float *centroid = recipe->lists ? recipe->centroids + piece->list * dim : recipe->centre;
    float *residuals = run->second_work, bias[KI_BLOCK] = {0};
    uint8_t *floats = (uint8_t *)run->second_work + room;
    float *factors = run->second_factors + block * KI_FACTORS;
    for (unsigned i = 0; i < count; i++) {
        const size_t row = run->order[first + i];
        const float *value = as_floats(recipe, run->rows + row * recipe->row_bytes, 1, (float *)(void *)floats);
        float largest, norm2;
        ki_projector()->centre(value, row_factor(recipe, run, row), centroid, dim, residuals + i * dim, &largest,
                               &norm2);
        if (recipe->metric == KITH_L2SQ) bias[i] = ki_residual_bias(centroid, recipe->centre, residuals + i * dim, dim);
    }
    ki_second_encode(recipe->second, residuals, count, bias, floats + room,
                     run->second_codes + block * recipe->second->block_bytes, factors);
    for (unsigned i = 0; i < count; i++)
        if (factors[KI_FACTOR_NORM + i] > 0)
            run->error_sum[2] += share(factors[KI_FACTOR_ERROR + i], factors[KI_FACTOR_NORM + i]);
}

static void lay_pieces(const ki_recipe *recipe, ki_run *run) {
    size_t first = 0;
    run->blocks = 0;
    for (size_t p = 0; p < run->piece_count; p++) {
        const size_t end = first + run->pieces[p].count;
        for (; first < end; first = ki_min_size(first + KI_BLOCK, end), run->blocks++) {
            lay_block(recipe, run, 0, run->blocks, first, end);
            if (recipe->level1_columns) lay_block(recipe, run, 1, run->blocks, first, end);
            if (recipe->second) lay_second(recipe, run, &run->pieces[p], run->blocks, first, end);
        }
    }
}

static ki_row_fault code_pieces(const ki_recipe *recipe, ki_run *run, size_t *row) {
    const size_t strip = strip_rows(recipe);
    size_t first = 0;
    for (size_t p = 0; p < run->piece_count; p++) {
        const size_t end = first + run->pieces[p].count;
        run->pieces[p].radius = 0;
        while (first < end) {
            const size_t count = ki_min_size(strip, end - first);
            const ki_row_fault fault = code_strip(recipe, run, &run->pieces[p], first, count, row);
            if (fault != KI_ROW_FINE) return fault;
            first += count;
        }
    }
    return KI_ROW_FINE;
}

ki_row_fault ki_run_code(const ki_recipe *recipe, ki_run *run, size_t *row) {
    if (recipe->dtype == KITH_B1) {
        for (size_t i = 0; i < run->count; i++) run->order[i] = (uint32_t)i;
        memcpy(run->originals, run->rows, run->count * recipe->row_bytes);
        return KI_ROW_FINE;
    }
    const ki_row_fault fault = code_pieces(recipe, run, row);
    if (fault != KI_ROW_FINE) return fault;
    if (!order_run(recipe, run)) return KI_ROW_NO_MEMORY;
    lay_pieces(recipe, run);
    for (size_t p = 0; p < run->count; p++)
        memcpy(run->originals + p * recipe->row_bytes, run->rows + run->order[p] * recipe->row_bytes,
               recipe->row_bytes);
    for (size_t p = 0; p < run->count && recipe->metric == KITH_COSINE; p++)
        run->norms2[p] = ki_square(ki_distance(), recipe->dtype, run->originals + p * recipe->row_bytes, recipe->dim);
    return KI_ROW_FINE;
}
