/* SPDX-License-Identifier: Apache-2.0
 *
 * A recall that was asked for holds where data is unfriendly: stored twice, in ten colours, half of it one vector, in
 * small whole numbers, of lengths far apart. Queries come from where the vectors came from, but none is a copy.
 *
 * Two things are held against the truth: what a search by target finds, and what the calibration claims of the settings
 * that it kept, whichever of them time makes the cheapest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include "base/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 6000, QUERIES = 1000, DIM = 32, CENTRES = 60, K_MOST = 100, LISTS = 128 };

static kith_error error;

/* Vectors around CENTRES, each `copies` times with some noise; the first `single` rows are one vector. */
struct kind {
    const char *name;
    size_t copies, single;
    double noise;
    double lengths; /* of the logarithms of lengths: the standard deviation */
    int whole;      /* rounded to small whole numbers */
    int in_order;   /* centre by centre, as a file may be */
    size_t lists;   /* 0: LISTS */
    kith_metric metric;
    const char *code;
    double near_least, near_most; /* the share with near-duplicates that is told */
    int exact;                    /* nothing but exact plans can be offered */
};

static const struct kind kinds[] = {
    {.name = "all different", .copies = 1, .near_most = 0.01},
    {.name = "twice", .copies = 2, .near_least = 0.95, .near_most = 1},
    {.name = "twice, nearly", .copies = 2, .noise = 1e-3, .near_least = 0.95, .near_most = 1},
    {.name = "twice, not quite", .copies = 2, .noise = 0.1, .near_least = 0.9, .near_most = 1},
    {.name = "twice, hardly", .copies = 2, .noise = 0.2, .near_most = 1},
    {.name = "ten copies", .copies = 10, .near_least = 0.95, .near_most = 1},
    {.name = "ten colours", .copies = 10, .noise = 0.1, .near_least = 0.5, .near_most = 1},
    {.name = "sixty copies", .copies = 60, .near_least = 0.95, .near_most = 1},
    {.name = "half one vector", .copies = 1, .single = ROWS / 2, .near_least = 0.4, .near_most = 0.6},
    {.name = "one vector, and pairs",
     .copies = 2,
     .single = ROWS / 3,
     .noise = 1e-3,
     .near_least = 0.9,
     .near_most = 1},
    {.name = "twice, cosine", .copies = 2, .noise = 0.05, .metric = KITH_COSINE, .near_least = 0.9, .near_most = 1},
    {.name = "twice, products", .copies = 2, .noise = 0.05, .metric = KITH_IP, .near_most = 1},
    {.name = "twice, in order", .copies = 2, .in_order = 1, .near_least = 0.95, .near_most = 1},
    {.name = "twice, tiny lists", .copies = 2, .noise = 1e-3, .lists = 600, .near_least = 0.95, .near_most = 1},
    {.name = "twice, rabitq", .copies = 2, .noise = 1e-3, .code = "rabitq:3", .near_least = 0.95, .near_most = 1},
    {.name = "lengths", .copies = 1, .lengths = 1, .near_most = 0.1},
    {.name = "lengths, twice", .copies = 2, .lengths = 1, .noise = 1e-3, .near_least = 0.9, .near_most = 1},
    {.name = "whole numbers", .copies = 1, .whole = 1, .near_most = 0.3},
    {.name = "whole numbers, twice", .copies = 2, .whole = 1, .near_least = 0.9, .near_most = 1},
    {.name = "copies of a few", .copies = 600, .near_least = 0.95, .near_most = 1, .exact = 1},
};
enum { KINDS = sizeof(kinds) / sizeof(*kinds) };

/* One kind at work. */
struct subject {
    const struct kind *kind;
    ki_rng rng;
    float *centres; /* CENTRES x DIM */
    float *queries; /* QUERIES x DIM */
    kith_index *index;
    kith_scratch *scratch;
    uint64_t *ids;
    float *distances, *truth; /* QUERIES x K_MOST */
};

static void *take(size_t count, size_t size) {
    void *memory = calloc(count, size);
    assert_non_null(memory);
    return memory;
}

/* ---- Data -------------------------------------------------------------------------------------------------------- */

static void draw(struct subject *s, size_t centre, float *row) {
    const double length = exp(s->kind->lengths * ki_rng_normal(&s->rng));
    for (size_t d = 0; d < DIM; d++)
        row[d] = (float)(length * (s->centres[centre * DIM + d] + 0.3 * ki_rng_normal(&s->rng)));
}

static void finish_row(const struct subject *s, float *row) {
    for (size_t d = 0; d < DIM && s->kind->whole; d++) row[d] = rintf(2 * row[d]);
}

static void make_rows(struct subject *s, float *rows) {
    const struct kind *kind = s->kind;
    const size_t different = (ROWS - kind->single) / kind->copies;
    for (size_t i = 0; i < kind->single; i++) {
        if (i == 0) draw(s, 0, rows);
        memcpy(rows + i * DIM, rows, DIM * sizeof(float));
    }
    float *first = rows + kind->single * DIM;
    for (size_t i = 0; i < ROWS - kind->single; i++) {
        float *row = first + i * DIM;
        if (i < different) {
            draw(s, kind->in_order ? i * CENTRES / different : (size_t)ki_rng_below(&s->rng, CENTRES), row);
            continue;
        }
        for (size_t d = 0; d < DIM; d++)
            row[d] = first[i % different * DIM + d] + (float)(kind->noise * ki_rng_normal(&s->rng));
    }
    for (size_t i = 0; i < ROWS; i++) finish_row(s, rows + i * DIM);
}

static void search(struct subject *s, size_t k, const kith_search_options *options, float *distances) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = s->queries;
    queries.dtype = KITH_F32;
    queries.count = QUERIES;
    queries.dim = DIM;
    if (kith_search(s->index, &queries, k, options, s->scratch, s->ids, distances, &error) != KITH_OK)
        fail_msg("%s: %s", s->kind->name, error.text);
}

static struct subject make(const struct kind *kind) {
    struct subject s = {.kind = kind,
                        .rng = {77},
                        .centres = take(CENTRES * DIM, sizeof(float)),
                        .queries = take(QUERIES * DIM, sizeof(float)),
                        .ids = take(QUERIES * K_MOST, sizeof(uint64_t)),
                        .distances = take(QUERIES * K_MOST, sizeof(float)),
                        .truth = take(QUERIES * K_MOST, sizeof(float))};
    float *rows = take(ROWS * DIM, sizeof(float));
    for (size_t i = 0; i < CENTRES * DIM; i++) s.centres[i] = (float)ki_rng_normal(&s.rng);
    make_rows(&s, rows);
    for (size_t i = 0; i < QUERIES; i++) {
        draw(&s, (size_t)ki_rng_below(&s.rng, CENTRES), s.queries + i * DIM);
        finish_row(&s, s.queries + i * DIM);
    }
    const data_set set = {.dtype = KITH_F32,
                          .metric = kind->metric ? kind->metric : KITH_L2SQ,
                          .rows = ROWS,
                          .dim = DIM,
                          .row_bytes = DIM * sizeof(float),
                          .bytes = (unsigned char *)rows};
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.lists = kind->lists ? kind->lists : LISTS;
    options.code = kind->code;
    data_build(&set, data_path("duplicates.kith"), &options);
    s.index = data_open(data_path("duplicates.kith"));
    assert_int_equal(kith_scratch_create(s.index, NULL, &s.scratch, &error), KITH_OK);
    free(rows);
    search(&s, K_MOST, NULL, s.truth);
    return s;
}

static void release(struct subject *s) {
    kith_scratch_destroy(s->scratch);
    kith_index_close(s->index);
    free(s->centres);
    free(s->queries);
    free(s->ids);
    free(s->distances);
    free(s->truth);
}

/* ---- What must hold ---------------------------------------------------------------------------------------------- */

static double recall_of(struct subject *s, size_t k, const kith_search_options *options) {
    size_t found = 0;
    search(s, k, options, s->distances);
    for (size_t i = 0; i < QUERIES; i++)
        for (size_t j = 0; j < k; j++) found += s->distances[i * k + j] <= s->truth[i * K_MOST + k - 1];
    return (double)found / (double)(QUERIES * k);
}

/* The standard error of what the calibration claims of the setting next to the one that was taken; 0: it was exact. A
 * busy machine measures with fewer queries, and knows less. */
static double error_of(const struct subject *s, size_t k, const kith_explain *explain) {
    const kith_tuned *tuned = NULL, *next = NULL;
    const size_t count = kith_index_tuned(s->index, &tuned);
    for (size_t i = 0; i < count; i++) {
        const kith_tuned *t = &tuned[i];
        if (t->plan != explain->plan || t->k != k || t->code != explain->code) continue;
        if (!next || llabs((long long)t->nprobe - (long long)explain->nprobe) <
                         llabs((long long)next->nprobe - (long long)explain->nprobe))
            next = t;
    }
    return next ? next->recall_error : 0;
}

/* Searches by target; how many of them were approximate. */
static unsigned check_targets(struct subject *s) {
    static const double targets[] = {0.9, 0.95, 0.99};
    static const size_t ks[] = {1, 10, 100};
    unsigned approximate = 0;
    for (size_t i = 0; i < 9; i++) {
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        kith_explain explain = KITH_EXPLAIN_INIT;
        options.target_recall = targets[i % 3];
        options.explain = &explain;
        const double recall = recall_of(s, ks[i / 3], &options);
        approximate += explain.plan == KITH_PLAN_IVF;
        if (recall < options.target_recall - 0.01 - 2 * error_of(s, ks[i / 3], &explain))
            fail_msg("%s: recall@%zu is %.4f, asked for was %.2f; code %d, nprobe %zu, rerank %zu", s->kind->name,
                     ks[i / 3], recall, options.target_recall, (int)explain.code, explain.nprobe, explain.rerank);
    }
    return approximate;
}

/* Some of the settings that a target might choose. Their claims are means over a thousand queries, and so is the truth:
 * three standard errors lie between them, hardly more. */
static unsigned check_claims(struct subject *s) {
    enum { EACH = 5 };
    const kith_tuned *tuned = NULL;
    const size_t count = kith_index_tuned(s->index, &tuned);
    unsigned looked = 0, checked = 0;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++) {
        const kith_tuned *setting = &tuned[i];
        if (s->kind->exact) assert_int_not_equal(setting->plan, KITH_PLAN_IVF);
        if (setting->plan != KITH_PLAN_IVF || setting->batch != 1 || setting->recall < 0.85 || looked++ % EACH)
            continue;
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        options.plan = KITH_PLAN_IVF;
        options.nprobe = setting->nprobe;
        options.rerank = setting->rerank;
        options.code = setting->code;
        const double recall = recall_of(s, setting->k, &options);
        checked++;
        if (recall < setting->recall - 0.01 - 3 * setting->recall_error)
            fail_msg("%s: code %d, nprobe %zu, rerank %zu has recall@%zu %.4f, claimed is %.4f +- %.4f", s->kind->name,
                     (int)setting->code, setting->nprobe, setting->rerank, setting->k, recall, setting->recall,
                     setting->recall_error);
    }
    return checked;
}

static void check(const struct kind *kind) {
    kith_index_info info = KITH_INDEX_INFO_INIT;
    struct subject s = make(kind);
    kith_index_get_info(s.index, &info);
    const unsigned approximate = check_targets(&s), claims = check_claims(&s);
    print_message("%-22s %u of 9 targets by plan ivf, %u settings as claimed, %.2f near-duplicates\n", kind->name,
                  approximate, claims, info.near_duplicates);
    if (!(info.near_duplicates >= kind->near_least && info.near_duplicates <= kind->near_most))
        fail_msg("%s: %.3f of the vectors are said to have near-duplicates", kind->name, info.near_duplicates);
    assert_true(kind->exact ? approximate == 0 && claims == 0 : claims > 0);
    release(&s);
}

/* Under sanitizers a search takes ten times as long, and memory is what they look at. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVERY = 3 };
#else
enum { EVERY = 1 };
#endif

static void test_kinds(void **state) {
    (void)state;
    const size_t step = getenv("KITH_TEST_QUICK") ? 5 : EVERY;
    for (size_t i = 0; i < KINDS; i += step) check(&kinds[i]);
}

/* Queries of the user's own: the share of near-duplicates stays as the build found it. */
static void test_own_queries(void **state) {
    (void)state;
    struct subject s = make(&kinds[2]);
    kith_reader *reader = NULL;
    kith_index_info before = KITH_INDEX_INFO_INIT, after = KITH_INDEX_INFO_INIT;
    kith_index_get_info(s.index, &before);
    assert_int_equal(kith_reader_from_memory(s.queries, KITH_F32, QUERIES / 2, DIM, 0, NULL, &reader, &error), KITH_OK);
    assert_int_equal(kith_tune(data_path("duplicates.kith"), reader, NULL, &error), KITH_OK);
    kith_reader_close(reader);
    kith_scratch_destroy(s.scratch);
    kith_index_close(s.index);
    s.index = data_open(data_path("duplicates.kith"));
    assert_int_equal(kith_scratch_create(s.index, NULL, &s.scratch, &error), KITH_OK);
    kith_index_get_info(s.index, &after);
    assert_true(before.near_duplicates == after.near_duplicates);
    (void)check_targets(&s);
    assert_true(check_claims(&s) > 0);
    release(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds), cmocka_unit_test(test_own_queries)};
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
