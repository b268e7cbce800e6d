/* SPDX-License-Identifier: Apache-2.0
 *
 * Second codes behind their common face: which specs are understood and what the others are told, models from hostile
 * bytes, training that is cancelled, refused memory, given degenerate rows or more threads, and the size of the errors
 * that codes leave.
 *
 * tiers: any */
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

#include "base/bytes.h"
#include "base/rng.h"
#include "quant/second.h"
#include "support/faulty_malloc.h"

enum { SEED = 7, HITS = 8 * KI_PANEL_MAX };

/* ---- Specs ------------------------------------------------------------------------------------------------------- */

static void good_specs(void **state) {
    static const struct {
        const char *text;
        size_t dim;
        ki_second_spec spec;
    } cases[] = {
        {"pq:96x4", 384, {KI_SECOND_PQ, 96, 4, 0}},       {"pq:48x8", 384, {KI_SECOND_PQ, 48, 8, 0}},
        {"pq:1x4", 1, {KI_SECOND_PQ, 1, 4, 0}},           {"pq:8192x8", 65536, {KI_SECOND_PQ, 8192, 8, 0}},
        {"pq:7x4", 49, {KI_SECOND_PQ, 7, 4, 0}},          {"opq:96x4", 384, {KI_SECOND_PQ, 96, 4, 1}},
        {"opq:2048x8", 2048, {KI_SECOND_PQ, 2048, 8, 1}}, {"rabitq:1", 384, {KI_SECOND_RABITQ, 0, 1, 0}},
        {"rabitq:8", 100, {KI_SECOND_RABITQ, 0, 8, 0}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ki_second_spec spec = {.kind = KI_SECOND_NONE};
        kith_error error = {0};
        char text[32];
        if (ki_second_parse(cases[i].text, cases[i].dim, &spec, &error) != KITH_OK)
            fail_msg("%s: %s", cases[i].text, error.text);
        assert_int_equal(spec.kind, cases[i].spec.kind);
        assert_int_equal(spec.m, cases[i].spec.m);
        assert_int_equal(spec.bits, cases[i].spec.bits);
        assert_int_equal(spec.rotated, cases[i].spec.rotated);
        ki_second_text(&spec, text);
        assert_string_equal(text, cases[i].text);
        assert_true(ki_second_sample(&spec) >= 256);
    }
}

static void bad_specs(void **state) {
    static const struct {
        const char *text;
        size_t dim;
        const char *told; /* part of the sentence */
    } cases[] = {
        {"", 384, "expected \"pq:MxB\""},
        {"pq", 384, "expected"},
        {"pq:", 384, "expected"},
        {"pq:96", 384, "expected"},
        {"pq:96x", 384, "expected"},
        {"pq:x4", 384, "expected"},
        {"pq:96x4 ", 384, "expected"},
        {" pq:96x4", 384, "expected"},
        {"pq:96X4", 384, "expected"},
        {"PQ:96x4", 384, "expected"},
        {"pq:-96x4", 384, "expected"},
        {"pq:+96x4", 384, "expected"},
        {"pq:096x4", 384, "expected"},
        {"pq:0x4", 384, "expected"},
        {"pq:96x0", 384, "expected"},
        {"pq:96x04", 384, "expected"},
        {"pq:99999999999x4", 384, "expected"},
        {"pq:4294967392x4", 384, "expected"},
        {"pq:96x4294967300", 384, "expected"},
        {"opq", 384, "expected"},
        {"ppq:96x4", 384, "expected"},
        {"rabitq", 384, "expected"},
        {"rabitq:", 384, "expected"},
        {"rabitq:1x4", 384, "expected"},
        {"orabitq:1", 384, "expected"},
        {"a code whose name is far longer than any buffer for names of codes can be", 384, "a code whose name"},
        {"pq:96x5", 384, "5 bits, expected 4 or 8"},
        {"pq:96x1", 384, "1 bits, expected 4 or 8"},
        {"pq:100x4", 384, "384 dimensions do not divide into 100 equal parts; 96 parts would do"},
        {"pq:385x4", 384, "384 parts would do"},
        {"pq:2x4", 7, "7 dimensions do not divide into 2 equal parts; 1 parts would do"},
        {"pq:8193x4", 8193, "8193 parts, expected 1 to 8192"},
        {"opq:3x4", 3072, "at most 2048 dimensions, not 3072"},
        {"rabitq:9", 384, "rabitq"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ki_second_spec spec = {.kind = KI_SECOND_PQ, .m = 77};
        kith_error error = {0};
        assert_int_equal(ki_second_parse(cases[i].text, cases[i].dim, &spec, &error), KITH_E_ARG);
        if (!strstr(error.text, cases[i].told)) fail_msg("%s: told \"%s\"", cases[i].text, error.text);
        assert_int_equal(spec.m, 77);
    }
}

/* ---- Models ------------------------------------------------------------------------------------------------------ */

static float *rows_make(size_t count, size_t dim, uint64_t seed) {
    ki_rng rng = {seed};
    float *rows = calloc(count * dim + 1, sizeof(float));
    assert_non_null(rows);
    for (size_t i = 0; i < count; i++) {
        float shared = 0; /* neighbouring dimensions go together, as real ones do */
        for (size_t j = 0; j < dim; j++) {
            shared = 0.7f * shared + (float)ki_rng_normal(&rng);
            rows[i * dim + j] = shared * (j < dim / 2 ? 1 : 0.3f);
        }
    }
    return rows;
}

static ki_second_spec parse(const char *text, size_t dim) {
    ki_second_spec spec;
    kith_error error = {0};
    if (ki_second_parse(text, dim, &spec, &error) != KITH_OK) fail_msg("%s", error.text);
    return spec;
}

static void *train(const char *text, const float *rows, size_t count, size_t dim, unsigned threads, size_t *bytes) {
    const ki_second_spec spec = parse(text, dim);
    kith_pool *pool = NULL;
    kith_error error;
    void *model = NULL;
    if (threads) assert_int_equal(kith_pool_create(threads, &pool, &error), KITH_OK);
    assert_int_equal(ki_second_train(&spec, rows, count, dim, SEED, pool, NULL, NULL, &model, bytes), KITH_OK);
    kith_pool_destroy(pool);
    return model;
}

/* Encode, prepare and score with a model, in memory of exactly the sizes that the view says; the mean of error /
 * norm. */
static double use(const ki_second *second, const float *rows, size_t count) {
    const size_t dim = second->dim;
    uint8_t *codes = calloc(1, second->block_bytes + KI_TILE_OVERREAD);
    void *work = aligned_alloc(64, ki_second_encode_bytes(second) + 64), *prepared[KI_PANEL_MAX];
    void *scan_work = aligned_alloc(64, second->work_bytes + 64);
    float *two = calloc(2 * dim, sizeof(float)), factors[KI_FACTORS], bias[KI_BLOCK] = {0}, need[KI_PANEL_MAX];
    ki_tile_hit hits[HITS];
    float scores[HITS][KI_BLOCK];
    double sum = 0;
    assert_true(codes && work && two && scan_work);
    assert_true(second->width >= 1 && second->width <= KI_PANEL_MAX);
    assert_int_equal(second->query_bytes % 64, 0);
    for (size_t i = 0; i < count; i += KI_BLOCK) {
        const unsigned n = (unsigned)(count - i < KI_BLOCK ? count - i : KI_BLOCK);
        ki_second_encode(second, rows + i * dim, n, bias, work, codes, factors);
        for (unsigned v = 0; v < n; v++)
            sum += (double)factors[KI_FACTOR_ERROR + v] / (double)factors[KI_FACTOR_NORM + v];
    }
    for (unsigned q = 0; q < second->width; q++) {
        prepared[q] = aligned_alloc(64, second->query_bytes);
        assert_non_null(prepared[q]);
        ki_second_prepare(second, rows + q % 8 * dim, two, prepared[q]);
        need[q] = -FLT_MAX;
    }
    size_t used = 0;
    ki_second_score(second, codes, factors, 0, 1, (const void *const *)prepared, need, second->width, scan_work, hits,
                    scores, HITS, &used);
    assert_true(used <= second->width);
    for (unsigned q = 0; q < second->width; q++) free(prepared[q]);
    free(codes);
    free(work);
    free(scan_work);
    free(two);
    return sum / (double)count;
}

static void view_and_use(const char *text, const void *model, size_t bytes, size_t dim, const float *rows) {
    ki_second second;
    char again[32];
    assert_true(ki_second_view(model, bytes, dim, &second));
    ki_second_text(&second.spec, again);
    assert_string_equal(again, text);
    assert_true(second.model == model && second.model_bytes == bytes && second.dim == dim);
    use(&second, rows, 16);
}

/* Every truncation is refused; so is, or can be used without harm, every change of a byte. */
static void hostile_models(void **state) {
    static const char *const texts[] = {"pq:4x4", "opq:4x4", "pq:2x8", "opq:12x8", "rabitq:1", "rabitq:4", "rabitq:8"};
    enum { DIM = 12, ROWS = 300 };
    float *rows = rows_make(ROWS, DIM, 1);
    (void)state;
    for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++) {
        size_t bytes, taken = 0;
        ki_second second;
        void *model = train(texts[t], rows, ROWS, DIM, 0, &bytes);
        view_and_use(texts[t], model, bytes, DIM, rows);
        assert_false(ki_second_view(model, bytes, DIM + 1, &second));
        assert_false(ki_second_view(model, bytes, 0, &second));
        for (size_t cut = 0; cut < bytes; cut++) {
            uint8_t *part = malloc(cut + 1); /* of just that size, for the sanitizers */
            assert_non_null(part);
            memcpy(part, model, cut);
            assert_false(ki_second_view(part, cut, DIM, &second));
            if (cut >= 32) { /* one that lies about its size */
                ki_store_u64(part + 24, cut);
                assert_false(ki_second_view(part, cut, DIM, &second));
            }
            free(part);
        }
        uint8_t *broken = malloc(bytes);
        assert_non_null(broken);
        for (size_t i = 0; i < bytes; i++)
            for (int change = 0; change < 4; change++) {
                static const uint8_t changes[] = {1, 0x40, 0x80, 0xff};
                memcpy(broken, model, bytes);
                broken[i] ^= changes[change];
                const int fine = ki_second_view(broken, bytes, DIM, &second);
                /* A RaBitQ model serves any number of bits. */
                if (i < 32 && !(i == 16 && strncmp(texts[t], "rabitq", 6) == 0)) assert_false(fine);
                if (!fine) continue;
                taken++;
                if (i % 7 == 0 || i < 256) use(&second, rows, 20);
            }
        assert_true(taken > 0 || strncmp(texts[t], "rabitq", 6) == 0); /* a mantissa may be anything */
        for (size_t i = 64; i + 4 <= bytes && strstr(texts[t], "pq:"); i += 4) {
            static const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000}; /* infinities, NaN */
            memcpy(broken, model, bytes);
            ki_store_u32(broken + i, bad[i / 4 % 3]);
            assert_false(ki_second_view(broken, bytes, DIM, &second));
        }
        free(broken);
        free(model);
    }
    free(rows);
}

static void threads_do_not_change_a_model(void **state) {
    static const char *const texts[] = {"pq:8x4", "opq:8x4", "pq:5x8", "opq:20x8", "rabitq:2"};
    enum { DIM = 40, ROWS = 400 };
    float *rows = rows_make(ROWS, DIM, 2);
    (void)state;
    for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++) {
        size_t bytes, other_bytes;
        void *model = train(texts[t], rows, ROWS, DIM, 0, &bytes);
        for (unsigned threads = 1; threads <= 5; threads += 2) {
            void *other = train(texts[t], rows, ROWS, DIM, threads, &other_bytes);
            assert_int_equal(bytes, other_bytes);
            assert_memory_equal(model, other, bytes);
            free(other);
        }
        free(model);
    }
    free(rows);
}

/* Fewer rows than centroids, none, and rows that are all the same: models that can be used. */
static void degenerate_rows(void **state) {
    static const char *const texts[] = {"pq:4x4", "pq:4x8", "opq:4x4", "opq:2x8", "rabitq:3"};
    enum { DIM = 8, ROWS = 64 };
    (void)state;
    for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++)
        for (size_t count = 0; count <= ROWS; count = count < 3 ? count + 1 : count < ROWS ? ROWS : ROWS + 1)
            for (int kind = 0; kind < 5; kind++) {
                static const float sizes[] = {1, 1e-25f, 0x1p62f, 0, 1};
                float *rows = rows_make(ROWS, DIM, 3);
                for (size_t i = 0; i < ROWS * DIM; i++) /* the last: all equal */
                    rows[i] = kind == 4 ? rows[i % DIM] : rows[i] / 16 * sizes[kind];
                size_t bytes;
                void *model = train(texts[t], rows, count, DIM, 0, &bytes);
                view_and_use(texts[t], model, bytes, DIM, rows);
                free(model);
                free(rows);
            }
}

/* What a code of so many bits ought to leave of normal data, and that a rotation helps where dimensions go together. */
static void errors_are_small(void **state) {
    enum { DIM = 32, ROWS = 2000 };
    static const struct {
        const char *text;
        double most;
    } cases[] = {{"pq:8x4", 0.48},   {"pq:16x4", 0.29}, {"pq:32x4", 0.10}, {"pq:8x8", 0.27},
                 {"pq:32x8", 0.008}, {"opq:8x4", 0.37}, {"opq:8x8", 0.19}};
    float *rows = rows_make(2 * ROWS, DIM, 4);
    double error[sizeof(cases) / sizeof(*cases)];
    (void)state;
    for (size_t t = 0; t < sizeof(cases) / sizeof(*cases); t++) {
        size_t bytes;
        ki_second second;
        void *model = train(cases[t].text, rows, ROWS, DIM, 2, &bytes);
        assert_true(ki_second_view(model, bytes, DIM, &second));
        error[t] = use(&second, rows + ROWS * DIM, ROWS);
        print_message("%s %.4f\n", cases[t].text, error[t]);
        assert_true(error[t] < cases[t].most);
        free(model);
    }
    assert_true(error[5] < 0.85 * error[0] && error[6] < 0.85 * error[3]);
    free(rows);
}

/* ---- Failures ---------------------------------------------------------------------------------------------------- */

struct seen {
    int calls, stop_at;
    uint64_t last;
};

static int count_calls(void *context, const kith_progress *progress) {
    struct seen *seen = context;
    assert_true(progress->done >= seen->last && progress->done <= progress->total);
    assert_non_null(progress->stage);
    seen->last = progress->done;
    return ++seen->calls == seen->stop_at;
}

static void training_can_be_cancelled(void **state) {
    static const char *const texts[] = {"pq:40x4", "opq:8x4"};
    enum { DIM = 40, ROWS = 200 };
    float *rows = rows_make(ROWS, DIM, 5);
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        const ki_second_spec spec = parse(texts[t], DIM);
        struct seen seen = {0, 0, 0};
        void *model = NULL;
        size_t bytes = 0;
        assert_int_equal(ki_second_train(&spec, rows, ROWS, DIM, SEED, NULL, count_calls, &seen, &model, &bytes),
                         KITH_OK);
        assert_true(seen.calls >= 3 && seen.last == ROWS);
        free(model);
        for (int stop = 1; stop <= seen.calls; stop++) {
            struct seen stopped = {0, stop, 0};
            model = NULL;
            assert_int_equal(ki_second_train(&spec, rows, ROWS, DIM, SEED, NULL, count_calls, &stopped, &model, &bytes),
                             KITH_E_CANCELLED);
            assert_null(model);
        }
    }
    free(rows);
}

static void training_survives_refused_memory(void **state) {
    static const char *const texts[] = {"pq:2x4", "opq:2x4", "rabitq:2"};
    enum { DIM = 8, ROWS = 40 };
    float *rows = rows_make(ROWS, DIM, 6);
    (void)state;
    for (size_t t = 0; t < sizeof(texts) / sizeof(*texts); t++) {
        const ki_second_spec spec = parse(texts[t], DIM);
        long refused = 0;
        for (;; refused++) {
            void *model = NULL;
            size_t bytes = 0;
            faulty_malloc_start(refused, 0);
            const kith_status status = ki_second_train(&spec, rows, ROWS, DIM, SEED, NULL, NULL, NULL, &model, &bytes);
            const long asked = faulty_malloc_stop(), live = atomic_load(&faulty_live);
            if (status == KITH_OK) {
                assert_true(asked <= refused);
                free(model);
                break;
            }
            assert_int_equal(status, KITH_E_NOMEM);
            assert_null(model);
            assert_int_equal(live, 0);
        }
        assert_true(refused >= 1);
    }
    free(rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_specs),
        cmocka_unit_test(bad_specs),
        cmocka_unit_test(hostile_models),
        cmocka_unit_test(threads_do_not_change_a_model),
        cmocka_unit_test(degenerate_rows),
        cmocka_unit_test(errors_are_small),
        cmocka_unit_test(training_can_be_cancelled),
        cmocka_unit_test(training_survives_refused_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
