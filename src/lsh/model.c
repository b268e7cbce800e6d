/* SPDX-License-Identifier: Apache-2.0
 *
 * How many tables, functions and buckets; and the bytes of a model read. */
#include "base/checked.h"
#include "lsh/build.h"
#include "lsh/inner.h"
#include "quant/rotate.h"

#include <math.h>
#include <string.h>

/* ---- Planning ---------------------------------------------------------------------------------------------------- */

/* OCCUPANCY: rows of a bucket, at least, on average. Measured with 115,659 sentence vectors of 384 dimensions, cosine:
 * recall@10 where 4 % of the vectors are candidates is .91 with 32 tables of two functions, .88 of three; .83 at 5 % of
 * one. With 64 tables it is .945, for twice the memory. Sets of about 70 of 2,048 bits, jaccard, 32 tables: .80 at 5 %
 * with two minima, .62 with three, since even near neighbours share few. */
enum { OCCUPANCY = 4, TABLES = 32, TABLES_OF_MINIMA = 64, MINIMA_FUNCTIONS = 2 };

static uint32_t floor_log2(uint64_t x) {
    uint32_t bits = 0;
    while (x >>= 1) bits++;
    return bits;
}

/* reach^functions with two signs a coordinate, cut at 2^63. */
static uint64_t keys_of(uint32_t reach, uint32_t functions) {
    uint64_t keys = 1;
    for (uint32_t f = 0; f < functions; f++)
        if (!ki_mul(keys, 2 * (uint64_t)reach, &keys) || keys >> 63) return UINT64_C(1) << 63;
    return keys;
}

/* The longest reach whose keys are not more than `most`; at least 1. */
static uint32_t reach_for(uint64_t most, uint32_t functions, uint32_t width) {
    uint32_t low = 1, high = width;
    while (low < high) {
        const uint32_t middle = low + (high - low + 1) / 2;
        if (keys_of(middle, functions) <= most)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* A cross-polytope of more dimensions is the better hash, so the fewest functions that make enough buckets. */
static uint32_t functions_for(uint64_t most, uint32_t width) {
    uint32_t functions = 1;
    while (functions < KI_LSH_FUNCTIONS_MAX && keys_of(width, functions) < most) functions++;
    return functions;
}

static uint64_t rotations_of(const ki_lsh_shape *shape) {
    const uint64_t per = shape->width / shape->reach, all = (uint64_t)shape->tables * shape->functions;
    return (all + per - 1) / per;
}

/* Where the parts of a model begin behind its head: multipliers, then two by kind; and its end. */
static void place_parts(const ki_lsh_shape *shape, size_t dim, kith_metric metric, uint64_t at[4]) {
    at[0] = sizeof(ki_lsh_head);
    at[1] = ki_round_up(at[0] + shape->functions * sizeof(uint64_t), KI_LSH_ALIGN);
    at[2] = at[1];
    switch (shape->kind) {
    case KI_LSH_CROSS:
        at[2] = ki_round_up(at[1] + ki_lsh_dim(dim, metric) * sizeof(float), KI_LSH_ALIGN);
        at[3] = at[2] + rotations_of(shape) * ki_rotate_bytes(shape->width);
        break;
    case KI_LSH_BITS:
        at[3] = at[1] + (uint64_t)shape->tables * shape->functions * sizeof(uint32_t);
        break;
    default:
        at[3] = at[1] + shape->tables * sizeof(uint64_t);
    }
    at[3] = ki_round_up(at[3], KI_LSH_ALIGN);
}

static uint32_t width_of(size_t dim, kith_metric metric) {
    return (uint32_t)ki_round_up(ki_lsh_dim(dim, metric), 8);
}

static uint32_t kind_of(kith_metric metric) {
    return metric == KITH_HAMMING ? KI_LSH_BITS : metric == KITH_JACCARD ? KI_LSH_MINIMA : KI_LSH_CROSS;
}

ki_lsh_shape ki_lsh_plan(uint64_t rows, size_t dim, kith_metric metric, uint32_t tables, uint32_t functions) {
    const uint32_t bits = floor_log2(ki_min_u64(rows / OCCUPANCY + 1, KI_LSH_BUCKETS_MAX));
    const uint64_t most = UINT64_C(1) << (bits ? bits : 1);
    ki_lsh_shape shape = {.kind = kind_of(metric), .tables = tables, .functions = functions, .reach = 1};
    uint64_t keys, at[4];
    if (!tables) shape.tables = shape.kind == KI_LSH_MINIMA ? TABLES_OF_MINIMA : TABLES;
    if (shape.kind == KI_LSH_CROSS) {
        shape.width = width_of(dim, metric);
        if (!functions) shape.functions = functions_for(most, shape.width);
        shape.reach = reach_for(most, shape.functions, shape.width);
    } else if (!functions) {
        shape.functions = shape.kind == KI_LSH_BITS ? floor_log2(most) : MINIMA_FUNCTIONS;
    }
    keys = shape.kind == KI_LSH_MINIMA ? most : keys_of(shape.reach, shape.functions);
    shape.buckets = (uint32_t)ki_min_u64(keys, most);
    place_parts(&shape, dim, metric, at);
    shape.model_bytes = at[3];
    shape.table_bytes = ki_lsh_positions_at(shape.buckets) + ki_round_up(rows * sizeof(uint32_t), KI_LSH_ALIGN);
    return shape;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int shape_fits(const ki_lsh_head *head, size_t dim, kith_metric metric) {
    static const uint32_t zero[7];
    const uint32_t width = kind_of(metric) == KI_LSH_CROSS ? width_of(dim, metric) : 0;
    return memcmp(head->magic, KI_LSH_MAGIC, sizeof(head->magic)) == 0 && head->kind == kind_of(metric) &&
           head->tables >= 1 && head->tables <= KI_LSH_TABLES_MAX && head->functions >= 1 &&
           head->functions <= KI_LSH_FUNCTIONS_MAX && head->width == width && head->reach >= 1 &&
           head->reach <= (width ? width : 1) && head->buckets >= 1 && head->buckets <= KI_LSH_BUCKETS_MAX &&
           memcmp(head->zero, zero, sizeof(zero)) == 0;
}

int ki_lsh_view(const void *model, uint64_t bytes, uint64_t rows, size_t dim, kith_metric metric, ki_lsh *lsh) {
    ki_lsh_head head;
    uint64_t at[4];
    if (bytes < sizeof(head)) return 0;
    memcpy(&head, model, sizeof(head));
    if (!shape_fits(&head, dim, metric)) return 0;
    const ki_lsh_shape shape = {.kind = head.kind,
                                .tables = head.tables,
                                .functions = head.functions,
                                .reach = head.reach,
                                .width = head.width,
                                .buckets = head.buckets};
    place_parts(&shape, dim, metric, at);
    if (bytes != at[3]) return 0;
    const uint8_t *from = model;
    const void *part = from + at[1];
    *lsh = (ki_lsh){.kind = head.kind,
                    .tables = head.tables,
                    .functions = head.functions,
                    .reach = head.reach,
                    .width = head.width,
                    .buckets = head.buckets,
                    .limit = head.limit};
    lsh->mixed = head.kind == KI_LSH_MINIMA || keys_of(head.reach, head.functions) != head.buckets;
    lsh->per_rotation = head.width / head.reach;
    lsh->multiplier = (const uint64_t *)(const void *)(from + at[0]);
    if (head.kind == KI_LSH_CROSS) lsh->centre = part;
    if (head.kind == KI_LSH_CROSS) lsh->signs = from + at[2];
    if (head.kind == KI_LSH_BITS) lsh->bit = part;
    if (head.kind == KI_LSH_MINIMA) lsh->seed = part;
    lsh->table_bytes = ki_lsh_positions_at(head.buckets) + (size_t)ki_round_up(rows * sizeof(uint32_t), KI_LSH_ALIGN);
    return 1;
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

const char *ki_lsh_check_model(const ki_lsh *lsh, size_t dim, kith_metric metric) {
    if (!isfinite(lsh->limit) || lsh->limit < 0) return "the length of its longest vector is none";
    for (size_t j = 0; lsh->centre && j < ki_lsh_dim(dim, metric); j++)
        if (!isfinite(lsh->centre[j])) return "its centre is not finite";
    for (size_t i = 0; lsh->bit && i < (size_t)lsh->tables * lsh->functions; i++)
        if (lsh->bit[i] >= dim) return "a function takes a bit that vectors do not have";
    return NULL;
}

const char *ki_lsh_check_table(const ki_lsh *lsh, size_t table, uint64_t rows, uint64_t *seen, uint64_t *place) {
    const uint32_t *first = ki_lsh_first(lsh, table), *position = ki_lsh_positions(lsh, table);
    uint32_t before = 0;
    *place = 0;
    if (first[0] != 0) return "its first bucket does not begin at the first position";
    memset(seen, 0, (size_t)((rows + 63) / 64) * sizeof(*seen));
    for (uint32_t b = 0; b < lsh->buckets; b++) {
        const uint32_t end = first[b + 1];
        *place = b;
        if (end < before || end > rows) return "a bucket does not end where it can";
        for (uint32_t i = before; i < end; i++) {
            const uint32_t p = position[i];
            *place = i;
            if (p >= rows) return "a position is beyond the last vector";
            if (i > before && p <= position[i - 1]) return "the positions of a bucket do not ascend";
            if (seen[p / 64] >> p % 64 & 1) return "a position is there twice";
            seen[p / 64] |= UINT64_C(1) << p % 64;
        }
        before = end;
    }
    return before == rows ? NULL : "the last bucket ends before the last vector";
}
