/* SPDX-License-Identifier: Apache-2.0
 *
 * RaBitQ codes through the face of quant/second.h. What a code says is read back here by plain loops (the layout of
 * kernel/unpack.h, the rotation by ki_rotate): its factors bound the error, scores are T4's bits on every tier, blocks
 * and panels of any number agree, and the estimate is unbiased over rotations with the spread that the papers give.
 *
 * Recall is that of a full scan by estimates alone, without re-ranking; the floors are measured values less a margin.
 *
 * Guards against: a scale that is off for few or many bits, planes or vectors of a block mixed up, an error bound that
 * forgets the rotation, hits lost or repeated where a run ends, models that say more than their bytes hold. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/checked.h"
#include "base/rng.h"
#include "kernel/unpack.h"
#include "quant/rabitq_inner.h"
#include "quant/rotate.h"
#include "quant/second.h"
#include "quant/second_model.h"
#include "support/guard.h"

enum { BITS_MAX = 8, DIM_MAX = 400, PADDED_MAX = 416, TOP = 10 };

/* ---- Coded data -------------------------------------------------------------------------------------------------- */

/* What vectors are like. */
enum kind { NORMAL, ONE_HOT, OUTLIER, EQUAL, HUGE_NORM, TINY, ZERO, KINDS };

typedef struct coded {
    ki_second second;
    void *model;
    size_t count, blocks;
    uint8_t *codes;
    float *factors, *bias;
    void *work; /* of scoring */
} coded;

static float value_of(enum kind kind, size_t row, size_t j, ki_rng *rng) {
    const float x = (float)ki_rng_normal(rng);
    switch (kind) {
    case ONE_HOT:
        return j == row % 7 ? 3.0f : 0.0f;
    case OUTLIER:
        return j == 1 ? 1e6f * x : x;
    case EQUAL:
        return 1.5f;
    case HUGE_NORM:
        return 0x1p50f * x;
    case TINY:
        return 0x1p-80f * x * (row % 2 ? 1 : 0x1p-60f);
    case ZERO:
        return 0;
    default:
        return x;
    }
}

static void *room_for(size_t bytes) {
    void *room = ki_alloc_array_zeroed(bytes, 1);
    assert_non_null(room);
    return room;
}

static coded encode(const float *rows, size_t count, size_t dim, unsigned bits, uint64_t seed) {
    const ki_second_spec spec = {.kind = KI_SECOND_RABITQ, .bits = bits};
    coded c = {.count = count, .blocks = (count + KI_BLOCK - 1) / KI_BLOCK};
    size_t bytes = 0;
    assert_int_equal(ki_second_train(&spec, rows, count, dim, seed, NULL, NULL, NULL, &c.model, &bytes), KITH_OK);
    assert_true(ki_second_view(c.model, bytes, dim, &c.second));
    assert_in_range(c.second.width, 1, KI_PANEL_MAX);
    assert_int_equal(c.second.block_bytes % 64 + c.second.query_bytes % 64 + c.second.work_bytes % 64, 0);
    c.codes = room_for(c.blocks * c.second.block_bytes + KI_TILE_OVERREAD);
    c.factors = room_for(c.blocks * KI_FACTORS * sizeof(float));
    c.bias = room_for(c.blocks * KI_BLOCK * sizeof(float));
    c.work = room_for(c.second.work_bytes);
    void *work = room_for(ki_second_encode_bytes(&c.second));
    for (size_t i = 0; i < count; i++) c.bias[i] = (float)(i % 5) - 2;
    for (size_t b = 0; b < c.blocks; b++) {
        const unsigned taken = (unsigned)ki_min_size(KI_BLOCK, count - b * KI_BLOCK);
        ki_second_encode(&c.second, rows + b * KI_BLOCK * dim, taken, c.bias + b * KI_BLOCK, work,
                         c.codes + b * c.second.block_bytes, c.factors + b * KI_FACTORS);
    }
    free(work);
    return c;
}

static void drop(coded *c) {
    free(c->model);
    free(c->codes);
    free(c->factors);
    free(c->bias);
    free(c->work);
}

static size_t padded_of(const coded *c) {
    return c->second.block_bytes / 2 / c->second.spec.bits;
}

/* The grid points of one vector, by the layout's words. */
static void decode(const coded *c, size_t row, int *points) {
    const unsigned bits = c->second.spec.bits;
    const size_t padded = padded_of(c), quads = padded / 4, v = row % KI_BLOCK;
    const uint8_t *block = c->codes + row / KI_BLOCK * c->second.block_bytes;
    for (size_t j = 0; j < padded; j++) {
        const size_t at = 4 * v + j % 4, quad = j / 4;
        unsigned u = 0, low = 0;
        const uint8_t *plane = block;
        for (unsigned width = 8; width; width /= 2) {
            if (!(bits & width)) continue;
            const size_t fields = 8 / width;
            const unsigned byte = plane[quad / fields * KI_QUAD_BYTES + at];
            u |= (byte >> quad % fields * width & ((1u << width) - 1)) << low;
            low += width;
            plane += quads / fields * KI_QUAD_BYTES;
        }
        points[j] = bits == 8 ? (int)u - 128 : 2 * (int)u - ((1 << bits) - 1);
    }
}

static void rotate(const coded *c, const float *x, float *rotated) {
    memset(rotated, 0, padded_of(c) * sizeof(float));
    memcpy(rotated, x, c->second.dim * sizeof(float));
    ki_rotate((const uint8_t *)c->model + KI_SECOND_HEADER, padded_of(c), rotated);
}

static float factor(const coded *c, size_t row, size_t which) {
    return c->factors[row / KI_BLOCK * KI_FACTORS + which + row % KI_BLOCK];
}

/* ---- The rotation ------------------------------------------------------------------------------------------------ */

static double product(const float *a, const float *b, size_t n) {
    double sum = 0;
    for (size_t j = 0; j < n; j++) sum += (double)a[j] * (double)b[j];
    return sum;
}

static void test_rotation(void **state) {
    ki_rng rng = {1};
    (void)state;
    for (size_t n = 8; n <= DIM_MAX; n += 8) {
        float a[DIM_MAX], b[DIM_MAX], first[DIM_MAX];
        uint8_t signs[DIM_MAX / 2], other[DIM_MAX / 2];
        for (size_t j = 0; j < n; j++) a[j] = (float)ki_rng_normal(&rng), b[j] = (float)ki_rng_normal(&rng);
        const double aa = product(a, a, n), bb = product(b, b, n), ab = product(a, b, n);
        ki_rotate_make(n, n, signs);
        ki_rotate_make(n, n + 1, other);
        memcpy(first, a, sizeof(first));
        ki_rotate(signs, n, a);
        ki_rotate(signs, n, b);
        ki_rotate(other, n, first);
        assert_true(fabs(sqrt(product(a, a, n)) - sqrt(aa)) <= 0x1p-17 * sqrt(aa));
        assert_true(fabs(product(a, b, n) - ab) <= 0x1p-16 * sqrt(aa * bb));
        assert_memory_not_equal(a, first, n * sizeof(float));
    }
}

/* A single coordinate is spread over all. */
static void test_rotation_spreads(void **state) {
    (void)state;
    for (size_t n = 32; n <= 384; n += 8)
        for (size_t hot = 0; hot < n; hot += n / 8 + 1) {
            float x[DIM_MAX] = {0}, largest = 0;
            uint8_t signs[DIM_MAX / 2];
            ki_rotate_make(n, 5, signs);
            x[hot] = 1;
            ki_rotate(signs, n, x);
            for (size_t j = 0; j < n; j++) largest = fmaxf(largest, fabsf(x[j]));
            if ((double)largest > 6 / sqrt((double)n)) fail_msg("n %zu: one coordinate keeps %g", n, (double)largest);
        }
}

/* ---- Factors ----------------------------------------------------------------------------------------------------- */

static void check_vector(const coded *c, const float *x, size_t row) {
    float rotated[PADDED_MAX];
    int points[PADDED_MAX];
    double error2 = 0, dot = 0, norm2 = product(x, x, c->second.dim);
    const double scale = (double)factor(c, row, KI_FACTOR_SCALE);
    rotate(c, x, rotated);
    decode(c, row, points);
    for (size_t j = 0; j < padded_of(c); j++) {
        const double e = (double)rotated[j] - scale * points[j];
        error2 += e * e;
        dot += (double)rotated[j] * points[j];
    }
    assert_true((double)factor(c, row, KI_FACTOR_NORM) >= sqrt(norm2));
    assert_true((double)factor(c, row, KI_FACTOR_ERROR) >= sqrt(error2));
    assert_true((double)factor(c, row, KI_FACTOR_ERROR) <= sqrt(error2) * 1.001 + 1e-4 * sqrt(norm2) + 0x1p-50);
    assert_true(factor(c, row, KI_FACTOR_BIAS) == c->bias[row]);
    if (scale > 0) assert_true(fabs(scale * dot - norm2) <= 1e-5 * norm2);
    if (norm2 > 0x1p-100) assert_true(scale > 0);
}

static void test_factors(void **state) {
    static const size_t dims[] = {3, 8, 17, 31, 32, 33, 64, 100, 127, 256, 384, 399, 400};
    enum { COUNT = 21 };
    ki_rng rng = {2};
    (void)state;
    for (size_t d = 0; d < sizeof(dims) / sizeof(*dims); d++)
        for (unsigned bits = 1; bits <= BITS_MAX; bits++)
            for (int kind = 0; kind < KINDS; kind++) {
                float rows[COUNT * DIM_MAX];
                for (size_t i = 0; i < COUNT; i++)
                    for (size_t j = 0; j < dims[d]; j++) rows[i * dims[d] + j] = value_of((enum kind)kind, i, j, &rng);
                coded c = encode(rows, COUNT, dims[d], bits, d);
                assert_in_range(padded_of(&c), dims[d], dims[d] + 31);
                for (size_t i = 0; i < COUNT; i++) check_vector(&c, rows + i * dims[d], i);
                for (size_t i = COUNT; i < 2 * KI_BLOCK; i++) { /* absent vectors */
                    assert_true(factor(&c, i, KI_FACTOR_SCALE) == 0 && factor(&c, i, KI_FACTOR_BIAS) == -FLT_MAX);
                    assert_true(factor(&c, i, KI_FACTOR_NORM) == 0 && factor(&c, i, KI_FACTOR_ERROR) == 0);
                }
                drop(&c);
            }
}

/* The mean of |r - r^| / |r| on normal data, r^ the best multiple of the code: what uniform quantisers of normal data
 * reach in theory is .603 .344 .194 .107 .059 .032 .017 .009 for many dimensions. */
static void test_mean_error(void **state) {
    static const float expected[BITS_MAX] = {.602f, .343f, .191f, .104f, .0555f, .0285f, .0145f, .0073f};
    enum { COUNT = 256, DIM = 384 };
    static float rows[COUNT * DIM];
    ki_rng rng = {3};
    (void)state;
    for (size_t i = 0; i < COUNT * DIM; i++) rows[i] = (float)ki_rng_normal(&rng);
    for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
        coded c = encode(rows, COUNT, DIM, bits, 9);
        const float error = ki_load_f32((const uint8_t *)c.model + KI_SECOND_OWN);
        if (error < 0.95f * expected[bits - 1] || error > 1.05f * expected[bits - 1])
            fail_msg("%u bits: the mean error is %g, not about %g", bits, (double)error, (double)expected[bits - 1]);
        drop(&c);
    }
}

/* ---- Scores ------------------------------------------------------------------------------------------------------ */

typedef struct prepared {
    uint8_t *room;
    const void *each[KI_PANEL_MAX];
} prepared;

static prepared prepare(const coded *c, const float *queries, unsigned count) {
    prepared p = {.room = room_for(count * c->second.query_bytes)};
    float *work = room_for(2 * c->second.dim * sizeof(float));
    for (unsigned i = 0; i < count; i++) {
        p.each[i] = p.room + i * c->second.query_bytes;
        ki_second_prepare(&c->second, queries + i * c->second.dim, work, p.room + i * c->second.query_bytes);
    }
    free(work);
    return p;
}

/* T4's score of a prepared query, by plain arithmetic. */
static float score_of(const coded *c, const void *query, size_t row) {
    const int8_t *v = (const int8_t *)query + 64;
    int points[PADDED_MAX], dot = 0;
    decode(c, row, points);
    for (size_t j = 0; j < padded_of(c); j++) dot += points[j] * v[j];
    const float scaled = (float)dot * ki_load_f32(query);
    return fmaf(scaled, factor(c, row, KI_FACTOR_SCALE), factor(c, row, KI_FACTOR_BIAS));
}

/* Score blocks first..end in as many calls as it takes, and check every hit and every miss. */
static void check_scores(coded *c, const prepared *p, const float *need, unsigned count, size_t first, size_t end,
                         size_t capacity) {
    ki_tile_hit *hits = room_for(capacity * sizeof(*hits));
    float(*scores)[KI_BLOCK] = room_for(capacity * sizeof(*scores));
    uint16_t *seen = room_for(c->blocks * KI_PANEL_MAX * sizeof(*seen));
    for (size_t block = first; block < end;) {
        size_t used = 0;
        const size_t next = ki_second_score(&c->second, c->codes, c->factors, block, end, p->each, need, count, c->work,
                                            hits, scores, capacity, &used);
        assert_true(next > block && next <= end && used <= capacity);
        for (size_t h = 0; h < used; h++) {
            assert_true(hits[h].block >= block && hits[h].block < next && hits[h].query < count && hits[h].mask);
            assert_int_equal(seen[hits[h].block * KI_PANEL_MAX + hits[h].query], 0);
            seen[hits[h].block * KI_PANEL_MAX + hits[h].query] = hits[h].mask;
            for (size_t v = 0; v < KI_BLOCK; v++) {
                const float expected = score_of(c, p->each[hits[h].query], hits[h].block * KI_BLOCK + v);
                assert_memory_equal(&scores[h][v], &expected, sizeof(float));
            }
        }
        block = next;
    }
    for (size_t row = first * KI_BLOCK; row < end * KI_BLOCK; row++)
        for (unsigned q = 0; q < count; q++)
            assert_int_equal(seen[row / KI_BLOCK * KI_PANEL_MAX + q] >> row % KI_BLOCK & 1,
                             score_of(c, p->each[q], row) >= need[q]);
    free(hits);
    free(scores);
    free(seen);
}

static void test_scores(void **state) {
    static const size_t dims[] = {3, 16, 33, 100, 384};
    enum { COUNT = 16 * 37 - 5 };
    ki_rng rng = {4};
    (void)state;
    for (size_t d = 0; d < sizeof(dims) / sizeof(*dims); d++)
        for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
            const size_t count = d == 4 ? 150 : COUNT; /* long decoding */
            float *rows = room_for(count * dims[d] * sizeof(float)), need[KI_PANEL_MAX];
            for (size_t i = 0; i < count * dims[d]; i++) rows[i] = (float)ki_rng_normal(&rng);
            coded c = encode(rows, count, dims[d], bits, d);
            for (unsigned queries = 1; queries <= c.second.width; queries += 1 + queries / 2) {
                prepared p = prepare(&c, rows, queries);
                const size_t first = ki_rng_below(&rng, 3), end = c.blocks - ki_rng_below(&rng, 2);
                for (unsigned q = 0; q < queries; q++) /* a threshold that few, many, all or no vectors reach */
                    need[q] = q % 8 == 7   ? -INFINITY
                              : q % 8 == 6 ? FLT_MAX
                                           : score_of(&c, p.each[q], ki_rng_below(&rng, count));
                check_scores(&c, &p, need, queries, first, end, queries % 2 ? 8 * KI_PANEL_MAX : 4096);
                free(p.room);
            }
            drop(&c);
            free(rows);
        }
}

/* Prepared queries whose code is zero, and hostile codes and factors: nothing is read past what may be. */
static void test_edges(void **state) {
    enum { DIM = 100, COUNT = 64 };
    static const float zero[DIM];
    static float rows[COUNT * DIM];
    guard room;
    (void)state;
    guard_make(&room, (size_t)1 << 16);
    for (size_t i = 0; i < COUNT * DIM; i++) rows[i] = (float)(i % 13) - 6;
    for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
        coded c = encode(rows, COUNT, DIM, bits, 1);
        prepared p = prepare(&c, zero, 1);
        const float need = -FLT_MAX;
        uint8_t *kept = c.codes;
        const size_t bytes = c.blocks * c.second.block_bytes, reach = bits == 8 ? KI_TILE_OVERREAD : 0;
        check_scores(&c, &p, &need, 1, 0, c.blocks, 8 * KI_PANEL_MAX);
        c.codes = guard_end(&room, bytes + reach);
        memset(c.codes, 0xFF, bytes + reach);
        for (size_t i = 0; i < c.blocks * KI_FACTORS; i++) c.factors[i] = i % 3 ? FLT_MAX : NAN;
        ki_tile_hit hits[8 * KI_PANEL_MAX];
        static float scores[8 * KI_PANEL_MAX][KI_BLOCK];
        size_t used = 0;
        free(p.room);
        p = prepare(&c, rows, 1);
        assert_int_equal(ki_second_score(&c.second, c.codes, c.factors, 0, c.blocks, p.each, &need, 1, c.work, hits,
                                         scores, 8 * KI_PANEL_MAX, &used),
                         c.blocks);
        free(p.room);
        c.codes = kept;
        drop(&c);
    }
    guard_free(&room);
}

/* ---- Statistics -------------------------------------------------------------------------------------------------- */

/* Over rotations the estimate of <q,r> is right in the mean, and spreads as |q||r| tan(r,c) / sqrt(dim - 1). */
static void test_unbiased(void **state) {
    enum { DIM = 64, ROTATIONS = 2000 };
    float r[DIM], q[DIM];
    ki_rng rng = {6};
    (void)state;
    for (size_t j = 0; j < DIM; j++) r[j] = (float)ki_rng_normal(&rng);
    for (size_t j = 0; j < DIM; j++) q[j] = 0.4f * r[j] + (float)ki_rng_normal(&rng);
    const double truth = product(q, r, DIM), lengths = sqrt(product(q, q, DIM) * product(r, r, DIM));
    for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
        double sum = 0, squares = 0, tangent = 0;
        for (size_t i = 0; i < ROTATIONS; i++) {
            coded c = encode(r, 1, DIM, bits, 100 + i);
            prepared p = prepare(&c, q, 1);
            const double off = ((double)score_of(&c, p.each[0], 0) - (double)c.bias[0] - truth) / lengths;
            sum += off;
            squares += off * off;
            tangent += (double)factor(&c, 0, KI_FACTOR_ERROR) / sqrt(product(r, r, DIM));
            free(p.room);
            drop(&c);
        }
        const double mean = sum / ROTATIONS, deviation = sqrt(squares / ROTATIONS);
        const double sine = sqrt(1 - truth / lengths * (truth / lengths)); /* only what is across r can be off */
        const double expected = tangent / ROTATIONS * sine / sqrt(DIM - 1), of_query = 0.0012;
        if (fabs(mean) > 4 * deviation / sqrt(ROTATIONS)) fail_msg("%u bits: the mean is off by %g", bits, mean);
        if (deviation > 1.15 * expected + of_query || deviation < 0.85 * expected - of_query)
            fail_msg("%u bits: the deviation is %g, not about %g", bits, deviation, expected);
    }
}

static void make_cloud(float *rows, size_t count, size_t dim, size_t clusters, ki_rng *rng) {
    float *centres = room_for((clusters + 1) * dim * sizeof(float));
    for (size_t i = 0; i < clusters * dim; i++) centres[i] = (float)ki_rng_normal(rng);
    for (size_t i = 0; i < count; i++) {
        const float *centre = clusters ? centres + ki_rng_below(rng, clusters) * dim : centres;
        for (size_t j = 0; j < dim; j++)
            rows[i * dim + j] = centre[j] + (clusters ? 0.5f : 1.0f) * (float)ki_rng_normal(rng);
    }
    free(centres);
}

/* The numbers of the best TOP of `scores`. */
static void best_of(const double *scores, size_t count, size_t best[TOP]) {
    size_t held = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = held < TOP ? held++ : TOP;
        for (; at > 0 && scores[best[at - 1]] < scores[i]; at--)
            if (at < TOP) best[at] = best[at - 1];
        if (at < TOP) best[at] = i;
    }
}

/* Recall@10 by l2 scores <q,r> - |r|^2/2 of estimates against those of the vectors. */
static double recall(size_t clusters, size_t dim, unsigned bits) {
    enum { COUNT = 4000, QUERIES = 24 };
    ki_rng rng = {7};
    float *rows = room_for((COUNT + QUERIES) * dim * sizeof(float)), need[KI_PANEL_MAX];
    double *truth = room_for(COUNT * sizeof(double)), *estimate = room_for(COUNT * sizeof(double));
    size_t found = 0;
    make_cloud(rows, COUNT + QUERIES, dim, clusters, &rng);
    coded c = encode(rows, COUNT, dim, bits, 1);
    for (size_t i = 0; i < COUNT; i++) /* the metric's own bias in place of the made up one */
        c.factors[i / KI_BLOCK * KI_FACTORS + KI_FACTOR_BIAS + i % KI_BLOCK] =
            (float)(-0.5 * product(rows + i * dim, rows + i * dim, dim));
    ki_tile_hit *hits = room_for(COUNT / KI_BLOCK * KI_PANEL_MAX * sizeof(*hits));
    float(*scores)[KI_BLOCK] = room_for(COUNT / KI_BLOCK * KI_PANEL_MAX * sizeof(*scores));
    for (size_t q = 0; q < QUERIES; q++) {
        const float *query = rows + (COUNT + q) * dim;
        size_t used = 0, wanted[TOP], got[TOP];
        prepared p = prepare(&c, query, 1);
        need[0] = -INFINITY;
        assert_int_equal(ki_second_score(&c.second, c.codes, c.factors, 0, c.blocks, p.each, need, 1, c.work, hits,
                                         scores, COUNT / KI_BLOCK * KI_PANEL_MAX, &used),
                         c.blocks);
        assert_int_equal(used, c.blocks);
        for (size_t i = 0; i < COUNT; i++) {
            const float *x = rows + i * dim;
            truth[i] = product(query, x, dim) - 0.5 * product(x, x, dim);
        }
        for (size_t h = 0; h < used; h++)
            for (size_t v = 0; v < KI_BLOCK; v++) estimate[hits[h].block * KI_BLOCK + v] = (double)scores[h][v];
        best_of(truth, COUNT, wanted);
        best_of(estimate, COUNT, got);
        for (size_t i = 0; i < TOP; i++)
            for (size_t j = 0; j < TOP; j++) found += wanted[i] == got[j];
        free(p.room);
    }
    free(hits);
    free(scores);
    free(truth);
    free(estimate);
    free(rows);
    drop(&c);
    return (double)found / (QUERIES * TOP);
}

static void test_recall(void **state) {
    static const struct {
        size_t clusters, dim;
        double floor[4]; /* of 1, 2, 4, 8 bits */
    } cases[] = {{0, 96, {.25, .56, .86, .97}},
                 {0, 384, {.25, .58, .86, .95}},
                 {40, 96, {.30, .44, .80, .97}},
                 {40, 384, {.32, .53, .80, .96}}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        for (unsigned b = 0; b < 4; b++) {
            const double reached = recall(cases[i].clusters, cases[i].dim, 1u << b);
            if (reached < cases[i].floor[b])
                fail_msg("%zu clusters, dim %zu, %u bits: recall@10 is %.3f, below %g", cases[i].clusters, cases[i].dim,
                         1u << b, reached, cases[i].floor[b]);
        }
}

/* ---- Models ------------------------------------------------------------------------------------------------------ */

static void test_hostile_models(void **state) {
    enum { DIM = 48 };
    static const float rows[2 * DIM] = {1, 2, 3};
    (void)state;
    for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
        coded c = encode(rows, 2, DIM, bits, 1);
        const size_t bytes = c.second.model_bytes;
        uint8_t *model = c.model;
        ki_second view;
        for (size_t shorter = 0; shorter < bytes; shorter++) assert_false(ki_second_view(model, shorter, DIM, &view));
        assert_false(ki_second_view(model, bytes, DIM + 1, &view));
        for (size_t at = 0; at < KI_SECOND_HEADER; at++)
            for (unsigned bit = 0; bit < 8; bit++) { /* every bit but those of the stated error and of `bits` matters */
                model[at] ^= (uint8_t)(1u << bit);
                const int taken = ki_second_view(model, bytes, DIM, &view);
                if (at / 4 != 4 && at / 4 != KI_SECOND_OWN / 4) assert_false(taken);
                if (taken) assert_true(view.spec.bits >= 1 && view.spec.bits <= BITS_MAX);
                model[at] ^= (uint8_t)(1u << bit);
            }
        static const float bad[] = {-1, 2, INFINITY, NAN};
        for (size_t i = 0; i < 4; i++) {
            ki_store_f32(model + KI_SECOND_OWN, bad[i]);
            assert_false(ki_second_view(model, bytes, DIM, &view));
        }
        ki_store_f32(model + KI_SECOND_OWN, 0.5f);
        memset(model + KI_SECOND_HEADER, 0xFF, bytes - KI_SECOND_HEADER); /* any signs are a rotation */
        assert_true(ki_second_view(model, bytes, DIM, &view));
        drop(&c);
    }
}

static void test_specs(void **state) {
    ki_second_spec spec;
    kith_error error;
    char text[32];
    (void)state;
    for (unsigned bits = 1; bits <= BITS_MAX; bits++) {
        const char wanted[] = {'r', 'a', 'b', 'i', 't', 'q', ':', (char)('0' + bits), 0};
        assert_int_equal(ki_second_parse(wanted, 3, &spec, &error), KITH_OK);
        assert_int_equal(spec.kind, KI_SECOND_RABITQ);
        assert_int_equal(spec.bits, bits);
        ki_second_text(&spec, text);
        assert_string_equal(text, wanted);
    }
    assert_int_equal(ki_second_parse("rabitq:0", 3, &spec, &error), KITH_E_ARG);
    assert_int_equal(ki_second_parse("rabitq:9", 3, &spec, &error), KITH_E_ARG);
    assert_int_equal(ki_second_parse("rabitq:4x", 3, &spec, &error), KITH_E_ARG);
    assert_int_equal(ki_second_parse("rabitq:", 3, &spec, &error), KITH_E_ARG);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rotation),       cmocka_unit_test(test_rotation_spreads),
        cmocka_unit_test(test_factors),        cmocka_unit_test(test_mean_error),
        cmocka_unit_test(test_scores),         cmocka_unit_test(test_edges),
        cmocka_unit_test(test_unbiased),       cmocka_unit_test(test_recall),
        cmocka_unit_test(test_hostile_models), cmocka_unit_test(test_specs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
