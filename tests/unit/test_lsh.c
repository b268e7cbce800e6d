/* SPDX-License-Identifier: Apache-2.0
 *
 * The hash families collide as often as theory says, buckets are probed in order and once, and nothing that a file may
 * hold leads a search out of it.
 *
 * tiers: any */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/checked.h"
#include "base/rng.h"
#include "lsh/build.h"
#include "lsh/inner.h"
#include "lsh/lsh.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kith_error error;

/* ---- Tables over rows in memory ---------------------------------------------------------------------------------- */

struct subject {
    ki_view view;
    uint8_t *model, *tables;
    ki_lsh_shape shape;
    float *centre, *norms2;
    uint64_t *labels;
};

static void *take(uint64_t count, uint64_t size) {
    void *memory = ki_alloc_array_zeroed(count, size);
    assert_non_null(memory);
    return memory;
}

static kith_status read_rows(void *context, uint64_t first, size_t count, void *to, kith_error *failure) {
    const struct subject *s = context;
    (void)failure;
    memcpy(to, s->view.originals + first * s->view.row_bytes, count * s->view.row_bytes);
    return KITH_OK;
}

static kith_status write_tables(void *context, uint64_t offset, const void *data, uint64_t bytes, kith_error *failure) {
    const struct subject *s = context;
    (void)failure;
    memcpy(s->tables + offset, data, bytes);
    return KITH_OK;
}

static struct subject make(const void *rows, uint64_t count, size_t dim, kith_metric metric, ki_lsh_shape shape,
                           uint64_t memory_bytes) {
    const kith_dtype dtype = metric == KITH_HAMMING || metric == KITH_JACCARD ? KITH_B1 : KITH_F32;
    struct subject s = {.shape = shape};
    s.view.rows = count;
    s.view.dim = dim;
    s.view.dtype = dtype;
    s.view.metric = metric;
    s.view.row_bytes = kith_row_bytes(dtype, dim);
    s.view.originals = rows;
    s.model = take(shape.model_bytes, 1);
    s.tables = take(shape.tables * shape.table_bytes, 1);
    s.centre = take(dim, sizeof(float));
    s.labels = take(count, sizeof(uint64_t));
    for (uint64_t i = 0; i < count; i++) s.labels[i] = i;
    s.view.labels = s.labels;
    const ki_lsh_input input = {.shape = shape,
                                .rows = count,
                                .dim = dim,
                                .row_bytes = s.view.row_bytes,
                                .dtype = dtype,
                                .metric = metric,
                                .centre = s.centre,
                                .seed = 7,
                                .memory_bytes = memory_bytes,
                                .read = read_rows,
                                .write = write_tables,
                                .context = &s};
    if (ki_lsh_build(&input, s.model, &error) != KITH_OK) fail_msg("%s", error.text);
    assert_true(ki_lsh_view(s.model, shape.model_bytes, count, dim, metric, &s.view.lsh));
    assert_int_equal(s.view.lsh.table_bytes, shape.table_bytes);
    s.view.lsh.table = s.tables;
    return s;
}

static void drop(struct subject *s) {
    free(s->model);
    free(s->tables);
    free(s->centre);
    free(s->labels);
}

/* Tables whose key is one function. */
static ki_lsh_shape single(size_t dim, kith_metric metric, uint64_t rows_for) {
    ki_lsh_shape shape = ki_lsh_plan(rows_for, dim, metric, KI_LSH_TABLES_MAX, 1);
    shape.table_bytes = ki_lsh_positions_at(shape.buckets) + 64;
    return shape;
}

/* The share of tables in which two vectors have the same key. */
static double share_of_collisions(const struct subject *s, const void *a, const void *b) {
    static uint64_t keys[2][KI_LSH_TABLES_MAX];
    ki_lsh_hasher hasher = {0};
    const size_t tables = s->view.lsh.tables;
    size_t same = 0;
    assert_true(ki_lsh_hash(&s->view, &s->view.lsh, &hasher, a, 0, 0, tables, keys[0], NULL, 0, NULL));
    assert_true(ki_lsh_hash(&s->view, &s->view.lsh, &hasher, b, 1, 0, tables, keys[1], NULL, 0, NULL));
    ki_lsh_hasher_free(&hasher);
    for (size_t t = 0; t < tables; t++) same += keys[0][t] == keys[1][t];
    return (double)same / (double)tables;
}

/* Five standard errors of 1,024 tables. */
static void assert_share(double share, double expected) {
    const double room = 5 * sqrt(expected * (1 - expected) / KI_LSH_TABLES_MAX) + 0.01;
    if (fabs(share - expected) > room) fail_msg("%.4f of the tables collide, %.4f were expected", share, expected);
}

/* ---- Collisions -------------------------------------------------------------------------------------------------- */

/* Two unit vectors with this cosine. */
static void pair_of(ki_rng *rng, size_t dim, double cosine, float *a, float *b) {
    double aa = 0, ab = 0, cc = 0;
    for (size_t j = 0; j < dim; j++) {
        a[j] = (float)ki_rng_normal(rng);
        b[j] = (float)ki_rng_normal(rng);
        aa += (double)a[j] * (double)a[j];
        ab += (double)a[j] * (double)b[j];
    }
    for (size_t j = 0; j < dim; j++) {
        b[j] -= (float)(ab / aa) * a[j];
        cc += (double)b[j] * (double)b[j];
    }
    for (size_t j = 0; j < dim; j++) {
        a[j] /= (float)sqrt(aa);
        b[j] = (float)cosine * a[j] + (float)sqrt(1 - cosine * cosine) * b[j] / (float)sqrt(cc);
    }
}

/* One coordinate: the sign, which differs as often as the angle says [Charikar 2002]. */
static void test_signs(void **state) {
    (void)state;
    enum { DIM = 96 };
    static float rows[2 * DIM];
    ki_rng rng = {3};
    for (double cosine = -0.5; cosine < 1; cosine += 0.35) {
        pair_of(&rng, DIM, cosine, rows, rows + DIM);
        struct subject s = make(rows, 2, DIM, KITH_COSINE, single(DIM, KITH_COSINE, 2), 1 << 20);
        assert_int_equal(s.view.lsh.reach, 1);
        assert_share(share_of_collisions(&s, rows, rows + DIM), 1 - acos(cosine) / 3.14159265358979);
        drop(&s);
    }
}

/* How often the largest of `reach` pairs of correlated normal numbers is the same, in earnest. */
static double simulated(size_t reach, double cosine) {
    enum { TRIALS = 4000 };
    ki_rng rng = {11};
    size_t same = 0;
    for (size_t trial = 0; trial < TRIALS; trial++) {
        double best[2] = {-1, -1};
        size_t which[2] = {0, 0};
        for (size_t i = 0; i < reach; i++) {
            const double x = ki_rng_normal(&rng), y = cosine * x + sqrt(1 - cosine * cosine) * ki_rng_normal(&rng);
            if (fabs(x) > best[0]) best[0] = fabs(x), which[0] = 2 * i + (x < 0);
            if (fabs(y) > best[1]) best[1] = fabs(y), which[1] = 2 * i + (y < 0);
        }
        same += which[0] == which[1];
    }
    return (double)same / TRIALS;
}

static void test_cross_polytopes(void **state) {
    (void)state;
    enum { DIM = 128 };
    static float rows[2 * DIM];
    ki_rng rng = {5};
    for (size_t i = 0; i < 3; i++) {
        static const double cosine[] = {0.5, 0.8, 0.95};
        pair_of(&rng, DIM, cosine[i], rows, rows + DIM);
        for (uint64_t rows_for = 256; rows_for <= 1024; rows_for *= 4) {
            struct subject s = make(rows, 2, DIM, KITH_COSINE, single(DIM, KITH_COSINE, rows_for), 1 << 20);
            assert_true(s.view.lsh.reach >= 32);
            assert_false(s.view.lsh.mixed);
            assert_share(share_of_collisions(&s, rows, rows + DIM), simulated(s.view.lsh.reach, cosine[i]));
            drop(&s);
        }
    }
}

static void test_bits(void **state) {
    (void)state;
    enum { DIM = 512 };
    static uint8_t rows[2 * DIM / 8];
    ki_rng rng = {9};
    for (size_t j = 0; j < DIM / 8; j++) rows[j] = rows[DIM / 8 + j] = (uint8_t)ki_rng_next(&rng);
    for (size_t differ = 0; differ <= DIM; differ += 128) {
        for (size_t j = 0; j < DIM / 8; j++) rows[DIM / 8 + j] = rows[j];
        for (size_t j = 0; j < differ; j++) rows[DIM / 8 + j / 8] ^= (uint8_t)(1 << j % 8);
        struct subject s = make(rows, 2, DIM, KITH_HAMMING, single(DIM, KITH_HAMMING, 2), 1 << 20);
        assert_share(share_of_collisions(&s, rows, rows + DIM / 8), 1 - (double)differ / DIM);
        drop(&s);
    }
}

/* One minimum collides as often as two sets are alike; several bins of one permutation about as often as that many.
 * Sets of fewer elements than bins borrow, and still are equal where they are equal. */
static void test_minima(void **state) {
    (void)state;
    enum { DIM = 1024, BYTES = DIM / 8 };
    static uint8_t rows[2 * BYTES];
    for (size_t shared = 0; shared <= 240; shared += 60)
        for (uint32_t functions = 1; functions <= 3; functions += 2) {
            memset(rows, 0, sizeof(rows));
            for (size_t j = 0; j < 240; j++) { /* 240 elements each */
                const size_t a = j * 7 % DIM, b = j < shared ? a : (j + 300) * 7 % DIM;
                rows[a / 8] |= (uint8_t)(1 << a % 8);
                rows[BYTES + b / 8] |= (uint8_t)(1 << b % 8);
            }
            ki_lsh_shape shape = ki_lsh_plan(2, DIM, KITH_JACCARD, KI_LSH_TABLES_MAX, functions);
            struct subject s = make(rows, 2, DIM, KITH_JACCARD, shape, 1 << 20);
            const double alike = (double)shared / (double)(480 - shared);
            assert_share(share_of_collisions(&s, rows, rows + BYTES), pow(alike, functions));
            drop(&s);
        }
    for (size_t elements = 0; elements < 4; elements++) { /* 64 bins */
        memset(rows, 0, sizeof(rows));
        for (size_t j = 0; j < elements; j++) rows[10 * j] = rows[BYTES + 10 * j] = 1;
        struct subject s =
            make(rows, 2, DIM, KITH_JACCARD, ki_lsh_plan(2, DIM, KITH_JACCARD, KI_LSH_TABLES_MAX, 64), 1 << 20);
        assert_true(share_of_collisions(&s, rows, rows + BYTES) == 1);
        rows[BYTES + 100] = 1;
        assert_true(share_of_collisions(&s, rows, rows + BYTES) < 0.1);
        drop(&s);
    }
}

/* ---- Probing ----------------------------------------------------------------------------------------------------- */

/* All buckets of some tables come in the end, each once where keys are buckets; those of the keys come first, and costs
 * never fall. */
static void assert_order(const void *rows, uint64_t count, size_t dim, kith_metric metric, uint32_t functions) {
    enum { TABLES = 3 };
    struct subject s = make(rows, count, dim, metric, ki_lsh_plan(count, dim, metric, TABLES, functions), 1 << 20);
    const ki_lsh *lsh = &s.view.lsh;
    ki_lsh_hasher hasher = {0};
    ki_area heap = {0};
    uint64_t keys[TABLES];
    uint32_t counts[TABLES];
    const size_t most = ki_lsh_others(lsh, SIZE_MAX), per_table = most * functions;
    ki_lsh_other *others = take(TABLES * per_table, sizeof(*others));
    uint8_t *seen = take((uint64_t)TABLES * lsh->buckets, 1);
    assert_false(lsh->mixed);
    assert_true(ki_lsh_hash(&s.view, lsh, &hasher, rows, 1, 0, TABLES, keys, others, most, counts));
    for (size_t t = 0; t < TABLES; t++)
        for (uint32_t i = 1; i < counts[t]; i++)
            assert_true(others[t * per_table + i - 1].cost <= others[t * per_table + i].cost);
    ki_lsh_order order = {lsh, others, per_table, counts, keys, &heap, 0, 0};
    ki_lsh_probe probe;
    size_t given = 0;
    for (; ki_lsh_order_next(&order, &probe) == 1; given++) {
        assert_true(probe.table < TABLES && probe.bucket < lsh->buckets);
        if (given < TABLES) assert_int_equal(probe.bucket, keys[probe.table]);
        assert_false(seen[probe.table * lsh->buckets + probe.bucket]++);
    }
    assert_int_equal(given, TABLES * lsh->buckets);
    ki_lsh_hasher_free(&hasher);
    free(heap.data);
    free(others);
    free(seen);
    drop(&s);
}

static void test_order(void **state) {
    (void)state;
    enum { DIM = 40, ROWS = 1100 };
    float *rows = take(ROWS * DIM, sizeof(float));
    ki_rng rng = {21};
    for (size_t j = 0; j < ROWS * DIM; j++) rows[j] = (float)ki_rng_normal(&rng);
    assert_order(rows, ROWS, DIM, KITH_L2SQ, 1);
    assert_order(rows, ROWS, DIM, KITH_COSINE, 2);
    assert_order(rows, ROWS, DIM, KITH_IP, 4);
    assert_order(rows, ROWS, 256, KITH_HAMMING, 8);
    free(rows);
}

/* ---- What a file may hold ---------------------------------------------------------------------------------------- */

enum { HOSTILE_DIM = 64, HOSTILE_ROWS = 300 };

static const kith_metric metrics[] = {KITH_L2SQ, KITH_IP, KITH_COSINE, KITH_HAMMING, KITH_JACCARD};
enum { METRICS = sizeof(metrics) / sizeof(*metrics) };

static float *hostile_rows(void) {
    float *rows = take(HOSTILE_ROWS * HOSTILE_DIM, sizeof(float));
    ki_rng rng = {31};
    for (size_t j = 0; j < HOSTILE_ROWS * HOSTILE_DIM; j++) rows[j] = (float)ki_rng_normal(&rng);
    return rows;
}

/* Results are there, distinct, and inside; which ones is open. */
static void search_all(const struct subject *s) {
    ki_lsh_desk *desk = ki_lsh_desk_create();
    atomic_int stop;
    ki_counts counts = {0};
    float norms2[HOSTILE_ROWS];
    ki_view view = s->view;
    assert_non_null(desk);
    atomic_init(&stop, 0);
    for (size_t i = 0; i < HOSTILE_ROWS; i++) norms2[i] = 1;
    if (view.metric == KITH_COSINE) view.norms2 = norms2;
    for (size_t effort = 1; effort <= 1000; effort *= 10) {
        const ki_lsh_search search = {.view = &view, .k = 10, .effort = effort, .limits = {.stop = &stop}};
        const ki_hit *hits;
        size_t count;
        assert_int_equal(ki_lsh_find(desk, &search, view.originals, &hits, &count, &counts, 0), KITH_OK);
        assert_true(count <= 10);
        for (size_t i = 0; i < count; i++) {
            assert_true(hits[i].position < HOSTILE_ROWS);
            if (i) assert_true(ki_hit_before(&hits[i - 1], &hits[i]));
        }
    }
    ki_lsh_desk_destroy(desk);
}

static void test_hostile_bytes(void **state) {
    (void)state;
    float *rows = hostile_rows();
    ki_rng rng = {41};
    for (size_t m = 0; m < METRICS; m++) {
        const ki_lsh_shape shape = ki_lsh_plan(HOSTILE_ROWS, HOSTILE_DIM, metrics[m], 5, 0);
        struct subject s = make(rows, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], shape, 1 << 20);
        const size_t tables = (size_t)(shape.tables * shape.table_bytes);
        uint8_t *kept = take(tables, 1);
        memcpy(kept, s.tables, tables);
        for (int round = 0; round < 30; round++) {
            memcpy(s.tables, kept, tables);
            for (size_t i = 0; i < (round < 10 ? 1u : tables); i++)
                s.tables[ki_rng_below(&rng, tables)] = (uint8_t)(round % 2 ? 255 : ki_rng_next(&rng));
            search_all(&s);
        }
        for (size_t i = sizeof(ki_lsh_head); i < shape.model_bytes; i++)
            s.model[i] = (uint8_t)(m % 2 ? 255 : ki_rng_next(&rng)); /* floats too: NaN */
        search_all(&s);
        free(kept);
        drop(&s);
    }
    free(rows);
}

static void test_models(void **state) {
    (void)state;
    float *rows = hostile_rows();
    for (size_t m = 0; m < METRICS; m++) {
        const ki_lsh_shape shape = ki_lsh_plan(HOSTILE_ROWS, HOSTILE_DIM, metrics[m], 5, 2);
        struct subject s = make(rows, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], shape, 1 << 20);
        ki_lsh lsh;
        assert_null(ki_lsh_check_model(&s.view.lsh, HOSTILE_DIM, metrics[m]));
        for (size_t field = 0; field < sizeof(ki_lsh_head) / 4; field++) { /* but reach, buckets, limit */
            uint32_t *at = (uint32_t *)(void *)s.model + field;
            const uint32_t kept = *at;
            static const uint32_t values[] = {0, UINT32_MAX, 1u << 31, 65537};
            for (size_t v = 0; v < 4; v++) {
                *at = values[v];
                const int taken = ki_lsh_view(s.model, shape.model_bytes, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], &lsh);
                const int free_field = field == 7 || field == 8 || values[v] == kept;
                if (!free_field && taken) fail_msg("field %zu may be %u", field, values[v]);
            }
            *at = kept;
        }
        assert_false(ki_lsh_view(s.model, shape.model_bytes - 64, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], &lsh));
        assert_false(ki_lsh_view(s.model, 63, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], &lsh));
        assert_false(
            ki_lsh_view(s.model, shape.model_bytes, HOSTILE_ROWS, HOSTILE_DIM, metrics[m < 3 ? 3 + m % 2 : 0], &lsh));
        drop(&s);
    }
    free(rows);
}

/* Every damage is told. */
static void test_check(void **state) {
    (void)state;
    enum { WORDS = (HOSTILE_ROWS + 63) / 64 };
    float *rows = hostile_rows();
    uint64_t seen[WORDS], place;
    const ki_lsh_shape shape = ki_lsh_plan(HOSTILE_ROWS, HOSTILE_DIM, KITH_L2SQ, 2, 0);
    struct subject s = make(rows, HOSTILE_ROWS, HOSTILE_DIM, KITH_L2SQ, shape, 1 << 20);
    uint32_t *first = (uint32_t *)(void *)s.tables, *position = first + ki_lsh_positions_at(shape.buckets) / 4;
    const struct {
        uint32_t *at, value;
        const char *wrong;
    } damage[] = {{first, 1, "its first bucket does not begin at the first position"},
                  {first + 3, HOSTILE_ROWS + 1, "a bucket does not end where it can"},
                  {first + shape.buckets, HOSTILE_ROWS - 1, NULL},
                  {position + 7, HOSTILE_ROWS, "a position is beyond the last vector"},
                  {position + 8, position[200], NULL},
                  {position, position[1], NULL}};
    for (size_t t = 0; t < 2; t++) assert_null(ki_lsh_check_table(&s.view.lsh, t, HOSTILE_ROWS, seen, &place));
    for (size_t i = 0; i < sizeof(damage) / sizeof(*damage); i++) {
        const uint32_t kept = *damage[i].at;
        *damage[i].at = damage[i].value;
        const char *wrong = ki_lsh_check_table(&s.view.lsh, 0, HOSTILE_ROWS, seen, &place);
        assert_non_null(wrong);
        if (damage[i].wrong) assert_string_equal(wrong, damage[i].wrong);
        *damage[i].at = kept;
    }
    drop(&s);
    free(rows);
}

/* Few tables at a time, or all: the same bytes. */
static void test_memory(void **state) {
    (void)state;
    float *rows = hostile_rows();
    for (size_t m = 0; m < METRICS; m++) {
        const ki_lsh_shape shape = ki_lsh_plan(HOSTILE_ROWS, HOSTILE_DIM, metrics[m], 7, 0);
        struct subject a = make(rows, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], shape, 1);
        struct subject b = make(rows, HOSTILE_ROWS, HOSTILE_DIM, metrics[m], shape, 1 << 30);
        assert_memory_equal(a.model, b.model, shape.model_bytes);
        assert_memory_equal(a.tables, b.tables, shape.tables * shape.table_bytes);
        drop(&a);
        drop(&b);
    }
    free(rows);
}

/* Whatever is asked for, a table has some buckets and not too many. */
static void test_plan(void **state) {
    (void)state;
    for (uint64_t rows = 1; rows < KITH_ROWS_MAX; rows = rows * 3 + 1)
        for (size_t m = 0; m < METRICS; m++)
            for (size_t dim = 8; dim <= KITH_DIM_MAX; dim *= 8)
                for (uint32_t functions = 0; functions <= KI_LSH_FUNCTIONS_MAX; functions += 1 + functions) {
                    const ki_lsh_shape shape = ki_lsh_plan(rows, dim, metrics[m], 0, functions);
                    assert_true(shape.buckets >= 1 && shape.buckets <= KI_LSH_BUCKETS_MAX);
                    assert_true(shape.buckets <= rows || shape.buckets == 2);
                    assert_true(shape.functions >= 1 && shape.functions <= KI_LSH_FUNCTIONS_MAX);
                    assert_true(shape.tables >= 1 && shape.reach >= 1);
                    assert_true(shape.kind != KI_LSH_CROSS || shape.reach <= shape.width);
                    assert_true(!functions || functions == shape.functions);
                }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signs),  cmocka_unit_test(test_cross_polytopes), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_minima), cmocka_unit_test(test_order),           cmocka_unit_test(test_hostile_bytes),
        cmocka_unit_test(test_models), cmocka_unit_test(test_check),           cmocka_unit_test(test_memory),
        cmocka_unit_test(test_plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
