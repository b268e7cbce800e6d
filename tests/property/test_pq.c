/* SPDX-License-Identifier: Apache-2.0
 *
 * Product codes. Kernels: every feature mask of this machine against plain code that knows only the layout drawn in
 * kernel/pq_scan.h, bit for bit, with operands that end where a forbidden page begins. Codes: for each number of parts
 * the code is that of the nearest centroid, the error that is stated covers the true one, entries keep P1, and scores
 * lie within what quant/pq.h states of the true ones.
 *
 * Guards against: sums that overflow a byte or a word, a last odd row or part left out, nibbles and lanes swapped, a
 * query's tables taken for another's, hits lost or repeated on resuming. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/checked.h"
#include "base/rng.h"
#include "cpu/cpu.h"
#include "kernel/pq_scan.h"
#include "quant/pq.h"
#include "quant/second_model.h"
#include "support/guard.h"

enum { MASKS_MAX = 8, BLOCKS = 5, ROWS_MAX = 128, HITS_MAX = BLOCKS * KI_PQ_WIDTH_MAX };

static struct {
    const char *name;
    ki_pq_kernels table;
} masks[MASKS_MAX];
static size_t mask_count;
static guard code_room, factor_room, table_rooms[KI_PQ_WIDTH_MAX], float_room, out_room;

static int set_up(void **state) {
    static const char *const settings[] = {"scalar", "neon", "avx2", "avx512,-avx512vnni", "avx512"};
    uint32_t seen[MASKS_MAX];
    (void)state;
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
        uint32_t features;
        int known = 0;
        assert_true(ki_cpu_lower(ki_cpu_features_found(), settings[i], &features));
        for (size_t m = 0; m < mask_count; m++) known |= seen[m] == features;
        if (known) continue;
        seen[mask_count] = features;
        masks[mask_count].name = settings[i];
        ki_pq_fill(features, &masks[mask_count++].table);
    }
    guard_make(&code_room, (size_t)BLOCKS * ROWS_MAX * KI_QUAD_BYTES);
    guard_make(&factor_room, BLOCKS * KI_FACTORS * sizeof(float));
    for (int q = 0; q < KI_PQ_WIDTH_MAX; q++) guard_make(&table_rooms[q], (size_t)ROWS_MAX * KI_PQ_TABLE8);
    guard_make(&float_room, (size_t)1 << 18);
    guard_make(&out_room, (size_t)1 << 14);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    guard_free(&code_room);
    guard_free(&factor_room);
    for (int q = 0; q < KI_PQ_WIDTH_MAX; q++) guard_free(&table_rooms[q]);
    guard_free(&float_room);
    guard_free(&out_room);
    return 0;
}

static float draw(ki_rng *rng, float size) {
    return (float)(2 * ki_rng_unit(rng) - 1) * size;
}

/* ---- Scans ------------------------------------------------------------------------------------------------------- */

/* The sum of vector v by the layout. */
static unsigned plain_sum(unsigned bits, const uint8_t *codes, size_t rows, const uint8_t *tables, unsigned v) {
    unsigned sum = 0;
    for (size_t s = 0; s < rows * (bits == 4 ? 8 : 4); s++) {
        if (bits == 4) {
            const unsigned byte = codes[s / 8 * 64 + s % 4 * 16 + v];
            sum += tables[s * 16 + (s % 8 < 4 ? byte & 15 : byte >> 4)];
        } else {
            const unsigned code = codes[s * 16 + v];
            sum += tables[s / 4 * 1024 + code / 16 * 64 + s % 4 * 16 + code % 16];
        }
    }
    return sum;
}

/* Random tables that keep P1; full: every entry as large as it may be. */
static void fill_tables(ki_rng *rng, unsigned bits, size_t rows, int full, uint8_t *tables) {
    if (bits == 8) {
        const size_t bytes = rows * KI_PQ_TABLE8;
        const unsigned most = rows * KI_PQ_ROW8 > 257 ? 127 : 255;
        for (size_t i = 0; i < bytes; i++) tables[i] = (uint8_t)(full ? most : ki_rng_below(rng, most + 1));
        return;
    }
    /* Of four parts that share a byte one may take most of it. */
    for (size_t s = 0; s < rows * KI_PQ_ROW4; s++) {
        const unsigned greedy = (unsigned)(s / 16 % 4), share = s / 4 % 4 == greedy ? 201 : 18;
        for (size_t k = 0; k < 16; k++) tables[s * 16 + k] = (uint8_t)(full ? share : ki_rng_below(rng, share + 1));
    }
}

struct scene {
    unsigned bits;
    ki_pq_scan scan;
    ki_tile_hit hits[HITS_MAX + KI_PQ_WIDTH_MAX];
    float scores[HITS_MAX + KI_PQ_WIDTH_MAX][KI_BLOCK];
    size_t used;
};

static struct scene scene_make(ki_rng *rng, unsigned bits, size_t rows, unsigned count, int full) {
    struct scene s = {.bits = bits, .scan = {.rows = rows, .count = count}};
    const size_t code_bytes = BLOCKS * rows * KI_QUAD_BYTES;
    uint8_t *codes = guard_end(&code_room, code_bytes);
    float *factors = guard_end(&factor_room, BLOCKS * KI_FACTORS * sizeof(float));
    for (size_t i = 0; i < code_bytes; i++) codes[i] = (uint8_t)ki_rng_next(rng);
    for (size_t i = 0; i < BLOCKS * KI_FACTORS; i++) factors[i] = draw(rng, 2);
    for (unsigned v = 9; v < KI_BLOCK; v++) { /* padding */
        factors[(BLOCKS - 1) * KI_FACTORS + KI_FACTOR_SCALE + v] = 0;
        factors[(BLOCKS - 1) * KI_FACTORS + KI_FACTOR_BIAS + v] = -FLT_MAX;
    }
    s.scan.codes = codes;
    s.scan.factors = factors;
    for (unsigned q = 0; q < count; q++) {
        uint8_t *tables = guard_end(&table_rooms[q], rows * (bits == 4 ? KI_PQ_TABLE4 : KI_PQ_TABLE8));
        fill_tables(rng, bits, rows, full, tables);
        s.scan.tables[q] = tables;
        s.scan.delta[q] = (1 + draw(rng, 1)) * 0x1p-6f;
        s.scan.low[q] = draw(rng, 4);
        s.scan.need[q] = q % 4 == 3 ? -INFINITY : draw(rng, 30);
    }
    return s;
}

static void expect(struct scene *s) {
    s->used = 0;
    for (size_t b = 0; b < BLOCKS; b++)
        for (unsigned q = 0; q < s->scan.count; q++) {
            const float *factors = s->scan.factors + b * KI_FACTORS;
            unsigned mask = 0;
            for (unsigned v = 0; v < KI_BLOCK; v++) {
                const unsigned sum = plain_sum(s->bits, s->scan.codes + b * s->scan.rows * KI_QUAD_BYTES, s->scan.rows,
                                               s->scan.tables[q], v);
                assert_true(sum <= KI_PQ_SUM_MAX);
                const float score = fmaf(fmaf((float)sum, s->scan.delta[q], s->scan.low[q]),
                                         factors[KI_FACTOR_SCALE + v], factors[KI_FACTOR_BIAS + v]);
                s->scores[s->used][v] = score;
                mask |= (unsigned)(score >= s->scan.need[q]) << v;
            }
            if (mask) s->hits[s->used++] = (ki_tile_hit){(uint32_t)b, (uint16_t)q, (uint16_t)mask};
        }
}

/* In steps of as many blocks as `capacity` hits allow. */
static void check_scan(const char *name, const struct scene *s, ki_pq_score_fn *score, size_t capacity) {
    ki_tile_hit hits[HITS_MAX + KI_PQ_WIDTH_MAX];
    float scores[HITS_MAX + KI_PQ_WIDTH_MAX][KI_BLOCK];
    size_t seen = 0, block = 0;
    while (block < BLOCKS) {
        size_t used = 0;
        const size_t next = score(&s->scan, block, BLOCKS, hits, scores, capacity, &used);
        assert_true(next > block && next <= BLOCKS && used <= capacity);
        assert_true(seen + used <= s->used);
        for (size_t h = 0; h < used; h++, seen++) {
            if (memcmp(&hits[h], &s->hits[seen], sizeof(*hits)) != 0 ||
                memcmp(scores[h], s->scores[seen], sizeof(*scores)) != 0)
                fail_msg("%s, %u bits, %zu rows, %u queries: hit %zu of block %u differs", name, s->bits, s->scan.rows,
                         s->scan.count, seen, s->hits[seen].block);
        }
        block = next;
    }
    assert_int_equal(seen, s->used);
}

static void every_tier_scans_alike(void **state) {
    ki_rng rng = {51};
    (void)state;
    for (unsigned bits = 4; bits <= 8; bits += 4)
        for (size_t rows = 1; rows <= ROWS_MAX; rows = rows < 20    ? rows + 1
                                                       : rows == 20 ? 63
                                                       : rows == 63 ? 64
                                                                    : rows * 2)
            for (unsigned count = 1; count <= KI_PQ_WIDTH_MAX; count++)
                for (int full = 0; full < 2; full++) {
                    struct scene s = scene_make(&rng, bits, rows, count, full);
                    expect(&s);
                    for (size_t m = 0; m < mask_count; m++) {
                        const ki_pq_kernels *table = &masks[m].table;
                        if (count > table->width) continue;
                        ki_pq_score_fn *score = bits == 4 ? table->score4 : table->score8;
                        check_scan(masks[m].name, &s, score, HITS_MAX + KI_PQ_WIDTH_MAX);
                        check_scan(masks[m].name, &s, score, KI_PQ_WIDTH_MAX);
                    }
                }
}

/* ---- Float passes ------------------------------------------------------------------------------------------------ */

static void check_floats(ki_rng *rng, size_t dim, size_t columns, float size) {
    float *x = guard_end(&float_room, (dim + dim * columns + columns) * sizeof(float));
    float *book = x + dim, *bias = book + dim * columns; /* the forbidden page lies behind bias */
    float *out = guard_end(&out_room, columns * sizeof(float)), expected[256], low, high, best, expected_best = 0;
    unsigned expected_at = 0;
    for (size_t i = 0; i < dim + dim * columns + columns; i++) x[i] = draw(rng, size);
    const size_t twin = columns == 16 ? 10 : 242; /* ties with column 2, which comes first, in the same lane */
    for (size_t j = 0; j < dim; j++) book[j * columns + twin] = book[j * columns + 2];
    bias[twin] = bias[2] = 2 * size * size * (float)dim;
    for (size_t k = 0; k < columns; k++) {
        float sum = 0, value = bias[k];
        for (size_t j = 0; j < dim; j++) {
            sum = fmaf(x[j], book[j * columns + k], sum);
            value = fmaf(x[j], book[j * columns + k], value);
        }
        expected[k] = fminf(fmaxf(sum, -KI_PQ_PRODUCT_MAX), KI_PQ_PRODUCT_MAX);
        if (k == 0 || value > expected_best) expected_at = (unsigned)k, expected_best = value;
    }
    for (size_t m = 0; m < mask_count; m++) {
        const ki_pq_kernels *table = &masks[m].table;
        memset(out, 0xff, columns * sizeof(float));
        table->products(x, book, dim, columns, out, &low, &high);
        assert_memory_equal(out, expected, columns * sizeof(float));
        for (size_t k = 0; k < columns; k++) assert_true(low <= expected[k] && expected[k] <= high);
        float least = expected[0], most = expected[0];
        for (size_t k = 0; k < columns; k++) least = fminf(least, expected[k]), most = fmaxf(most, expected[k]);
        assert_true(low == least && high == most);
        assert_int_equal(table->nearest(x, book, bias, dim, columns, &best), expected_at);
        assert_memory_equal(&best, &expected_best, sizeof(best));
    }
}

static void every_tier_multiplies_alike(void **state) {
    static const float sizes[] = {1, 1e-22f, 0x1p62f};
    ki_rng rng = {52};
    (void)state;
    for (size_t dim = 1; dim <= 33; dim++)
        for (size_t columns = 16; columns <= 256; columns *= 16)
            for (size_t s = 0; s < 3; s++) check_floats(&rng, dim, columns, sizes[s]);
}

static void every_tier_rounds_alike(void **state) {
    ki_rng rng = {53};
    (void)state;
    for (int round = 0; round < 500; round++) {
        float *values = guard_end(&float_room, 16 * sizeof(float));
        uint8_t expected[16], *out = guard_end(&out_room, 16);
        const float low = draw(&rng, 3), step = round % 3 ? 0.25f : 0.013f;
        for (int i = 0; i < 16; i++) {
            const float level = (float)ki_rng_below(&rng, 510) / 2; /* halves: ties */
            values[i] = low + level * step;
            expected[i] = (uint8_t)rintf((values[i] - low) * (1 / step));
        }
        for (size_t m = 0; m < mask_count; m++) {
            memset(out, 0xee, 16);
            masks[m].table.to_bytes(values, low, 1 / step, out);
            assert_memory_equal(out, expected, 16);
        }
    }
}

/* ---- Codes ------------------------------------------------------------------------------------------------------- */

/* A model of random centroids; a rotation of sign changes and a turn of neighbours, orthonormal up to rounding. */
struct made {
    ki_second_spec spec;
    size_t dim;
    void *bytes;
    ki_pq_model model;
    ki_second second;
};

static struct made model_make(ki_rng *rng, unsigned m, unsigned bits, size_t part, int rotated) {
    struct made made = {.spec = {KI_SECOND_PQ, m, bits, rotated}, .dim = m * part};
    const uint64_t bytes = ki_pq_model_bytes(&made.spec, made.dim);
    made.bytes = calloc(1, bytes);
    assert_non_null(made.bytes);
    ki_second_header_write(made.bytes, &made.spec, made.dim, bytes);
    made.model = ki_pq_model_of(&made.spec, made.dim, made.bytes);
    for (size_t i = 0; i < made.dim * made.model.columns; i++) made.model.books[i] = draw(rng, i % 7 == 0 ? 3 : 1);
    for (size_t s = 0; s < m; s++)
        for (size_t k = 0; k < made.model.columns; k++) {
            double square = 0;
            for (size_t j = 0; j < part; j++) {
                const double c = made.model.books[(s * part + j) * made.model.columns + k];
                square += c * c;
            }
            made.model.bias[s * made.model.columns + k] = (float)(-square / 2);
        }
    if (rotated) {
        ki_store_f32((uint8_t *)made.bytes + KI_SECOND_OWN, 0x1p-20f);
        for (size_t i = 0; i < made.dim; i++) made.model.rotation[i * made.dim + i] = i % 3 ? 1 : -1;
        for (size_t i = 0; i + 1 < made.dim; i += 2) {
            float *r = made.model.rotation + i * made.dim + i;
            r[0] = 0.6f, r[1] = 0.8f, r[made.dim] = -0.8f, r[made.dim + 1] = 0.6f;
        }
    }
    assert_true(ki_second_view(made.bytes, bytes, made.dim, &made.second));
    return made;
}

static void rotate(const struct made *made, const float *x, double *y) {
    for (size_t i = 0; i < made->dim; i++) {
        y[i] = made->spec.rotated ? 0 : (double)x[i];
        for (size_t j = 0; j < made->dim && made->spec.rotated; j++)
            y[i] += (double)made->model.rotation[i * made->dim + j] * (double)x[j];
    }
}

static unsigned code_of(const struct made *made, const uint8_t *block, size_t s, unsigned v) {
    if (made->spec.bits == 8) return block[s * 16 + v];
    const unsigned byte = block[s / 8 * 64 + s % 4 * 16 + v];
    return s % 8 < 4 ? byte & 15 : byte >> 4;
}

static double centroid(const struct made *made, size_t i, unsigned code) {
    return (double)made->model.books[i * made->model.columns + code];
}

/* Each code is of the nearest centroid; the stated norm and error cover the true ones. */
static void check_vector(const struct made *made, const float *x, const uint8_t *block, const float *factors,
                         unsigned v) {
    double *y = calloc(2 * made->dim, sizeof(double)), *left = y + made->dim;
    const double a = factors[KI_FACTOR_SCALE + v];
    double norm2 = 0, error2 = 0;
    assert_non_null(y);
    rotate(made, x, y);
    for (size_t s = 0; s < made->spec.m; s++) {
        const unsigned code = code_of(made, block, s, v);
        double own = 0;
        for (unsigned k = 0; k < made->model.columns; k++) {
            double distance2 = 0, square = 0;
            for (size_t j = s * made->model.part; j < (s + 1) * made->model.part; j++) {
                const double d = y[j] - centroid(made, j, k);
                distance2 += d * d;
                square += y[j] * y[j] + centroid(made, j, k) * centroid(made, j, k);
            }
            if (k == 0)
                for (size_t j = s * made->model.part; j < (s + 1) * made->model.part; j++)
                    own += (y[j] - centroid(made, j, code)) * (y[j] - centroid(made, j, code));
            assert_true(own <= distance2 + 1e-5 * square);
        }
    }
    /* r - a R'c, not its rotation. */
    for (size_t i = 0; i < made->dim; i++) {
        left[i] = (double)x[i];
        for (size_t c = 0; c < made->dim; c++)
            if (made->spec.rotated || c == i)
                left[i] -= a * (made->spec.rotated ? (double)made->model.rotation[c * made->dim + i] : 1) *
                           centroid(made, c, code_of(made, block, c / made->model.part, v));
        error2 += left[i] * left[i];
        norm2 += (double)x[i] * (double)x[i];
    }
    assert_true((double)factors[KI_FACTOR_NORM + v] >= sqrt(norm2));
    assert_true((double)factors[KI_FACTOR_ERROR + v] >= sqrt(error2));
    assert_true((double)factors[KI_FACTOR_ERROR + v] <= sqrt(error2) * 1.001 + 2e-3 * sqrt(norm2) + 1e-15);
    assert_true(sqrt(error2) <= sqrt(norm2) * (1 + 1e-4)); /* the best multiple is never worse than none */
    free(y);
}

/* P1 of a prepared query, read by the layout. */
static void check_entries(const struct made *made, const uint8_t *tables) {
    const size_t parts = (size_t)ki_round_up(made->spec.m, made->spec.bits == 4 ? 8 : 4);
    unsigned total = 0, group[4] = {0, 0, 0, 0};
    for (size_t s = 0; s < parts; s++) {
        unsigned most = 0;
        for (unsigned k = 0; k < made->model.columns; k++) {
            const unsigned entry =
                made->spec.bits == 4 ? tables[16 * s + k] : tables[s / 4 * 1024 + k / 16 * 64 + s % 4 * 16 + k % 16];
            most = entry > most ? entry : most;
        }
        if (s >= made->spec.m) assert_int_equal(most, 0);
        if (s % 16 < 4) group[s % 4] = 0;
        group[s % 4] += most;
        if (made->spec.bits == 4) assert_true(group[s % 4] <= KI_PQ_GROUP_MAX);
        total += most;
    }
    assert_true(total <= KI_PQ_SUM_MAX);
}

static void check_scores(const struct made *made, const float *query, const uint8_t *block, const float *factors) {
    const ki_second *second = &made->second;
    void *prepared = aligned_alloc(64, second->query_bytes);
    float *work = calloc(2 * made->dim, sizeof(float)), scores[KI_PQ_WIDTH_MAX][KI_BLOCK];
    double *y = calloc(made->dim, sizeof(double)), terms = 0;
    ki_tile_hit hits[KI_PQ_WIDTH_MAX];
    const float need = -INFINITY;
    size_t used = 0;
    assert_true(prepared && work && y);
    ki_second_prepare(second, query, work, prepared);
    check_entries(made, (const uint8_t *)prepared + 64);
    const void *const queries[1] = {prepared};
    assert_int_equal(
        ki_second_score(second, block, factors, 0, 1, queries, &need, 1, NULL, hits, scores, KI_PQ_WIDTH_MAX, &used),
        1);
    assert_int_equal(used, 1);
    assert_int_equal(hits[0].mask, 0xffff);
    rotate(made, query, y);
    for (size_t s = 0; s < made->spec.m; s++) {
        double most = 0;
        for (unsigned k = 0; k < made->model.columns; k++) {
            double sum = 0;
            for (size_t j = s * made->model.part; j < (s + 1) * made->model.part; j++)
                sum += fabs(y[j] * centroid(made, j, k));
            most = sum > most ? sum : most;
        }
        terms += most;
    }
    const double bound = (0.5 + 0x1p-12) * made->spec.m * (double)ki_load_f32(prepared) + 0x1p-20 * terms;
    for (unsigned v = 0; v < KI_BLOCK; v++) {
        const double a = factors[KI_FACTOR_SCALE + v], bias = factors[KI_FACTOR_BIAS + v];
        double product = 0;
        for (size_t i = 0; i < made->dim; i++)
            product += y[i] * centroid(made, i, code_of(made, block, i / made->model.part, v));
        const double score = scores[0][v], truth = a * product + bias;
        assert_true(fabs(score - truth) <= fabs(a) * bound + 1e-6 * (fabs(bias) + fabs(truth)));
    }
    free(prepared);
    free(work);
    free(y);
}

static void check_codes(ki_rng *rng, unsigned m, unsigned bits, size_t part, int rotated) {
    struct made made = model_make(rng, m, bits, part, rotated);
    const size_t dim = made.dim;
    float *rows = calloc(KI_BLOCK * dim, sizeof(float)), *query = calloc(dim, sizeof(float)), factors[KI_FACTORS];
    float bias[KI_BLOCK];
    uint8_t *block = calloc(1, made.second.block_bytes);
    void *work = calloc(1, ki_second_encode_bytes(&made.second));
    const unsigned count = (unsigned)ki_rng_below(rng, KI_BLOCK) + 1;
    assert_true(rows && query && block && work);
    for (size_t i = 0; i < KI_BLOCK * dim; i++) rows[i] = draw(rng, i / dim % 5 == 4 ? 1e-12f : 2);
    memset(rows, 0, dim * sizeof(float)); /* a vector that is its centroid */
    for (size_t i = 0; i < dim; i++) query[i] = draw(rng, 1);
    for (unsigned v = 0; v < KI_BLOCK; v++) bias[v] = draw(rng, 1);
    ki_second_encode(&made.second, rows, count, bias, work, block, factors);
    for (unsigned v = 0; v < count; v++) {
        assert_true(factors[KI_FACTOR_BIAS + v] == bias[v]);
        check_vector(&made, rows + v * dim, block, factors, v);
    }
    for (unsigned v = count; v < KI_BLOCK; v++) {
        assert_true(factors[KI_FACTOR_SCALE + v] == 0 && factors[KI_FACTOR_BIAS + v] == -FLT_MAX);
        for (size_t s = 0; s < m; s++) assert_int_equal(code_of(&made, block, s, v), 0);
    }
    for (unsigned v = count; v < KI_BLOCK; v++) factors[KI_FACTOR_BIAS + v] = 0; /* for the sake of the bound */
    check_scores(&made, query, block, factors);
    memset(query, 0, dim * sizeof(float));
    check_scores(&made, query, block, factors);
    free(rows);
    free(query);
    free(block);
    free(work);
    free(made.bytes);
}

static void codes_and_scores_of_any_number_of_parts(void **state) {
    ki_rng rng = {54};
    (void)state;
    for (unsigned m = 1; m <= 40; m++)
        for (int rotated = 0; rotated < 2; rotated++) {
            check_codes(&rng, m, 4, 1 + m % 5, rotated);
            check_codes(&rng, m, 8, 1 + m % 3, rotated);
        }
    check_codes(&rng, 2000, 4, 1, 0); /* enough parts for the sum, not the bytes, to set the step */
    check_codes(&rng, 800, 8, 1, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tier_scans_alike),
        cmocka_unit_test(every_tier_multiplies_alike),
        cmocka_unit_test(every_tier_rounds_alike),
        cmocka_unit_test(codes_and_scores_of_any_number_of_parts),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
