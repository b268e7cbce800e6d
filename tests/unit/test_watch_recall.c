/* SPDX-License-Identifier: Apache-2.0
 *
 * Live recall: the interval covers what is true; a search that is asked again is judged right, whatever was written
 * meanwhile; and who answers searches never waits for it.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/watch/recall.h"
#include "base/rng.h"
#include "support/data.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { DIM = 8, ITEMS = 400, K = 10 };

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        const kith_status status_of_call = (call);                                                                     \
        if (status_of_call != KITH_OK) fail_msg("%s: %s", #call, error.text);                                          \
    } while (0)

/* ---- The interval ------------------------------------------------------------------------------------------------ */

static void test_window_forgets(void **state) {
    (void)state;
    static ks_window window;
    double mean, low, high;
    memset(&window, 0, sizeof(window));
    assert_int_equal(ks_window_interval(&window, &mean, &low, &high), 0);
    ks_window_add(&window, 3, 0);   /* nothing was sought */
    ks_window_add(&window, 11, 10); /* nonsense */
    assert_int_equal(ks_window_interval(&window, &mean, &low, &high), 0);
    for (int i = 0; i < KS_WINDOW; i++) ks_window_add(&window, 5, 10);
    assert_int_equal(ks_window_interval(&window, &mean, &low, &high), 1);
    assert_true(mean == 0.5 && low < 0.5 && high > 0.5);
    for (int i = 0; i < KS_WINDOW; i++) ks_window_add(&window, 10, 10);
    ks_window_interval(&window, &mean, &low, &high);
    assert_true(mean == 1 && high == 1 && low > 0.99 && low < 1);
    assert_int_equal(window.checked, 2 * KS_WINDOW);
}

/* One query says little, however many results it has. */
static void test_few_queries_are_not_sure(void **state) {
    (void)state;
    static ks_window window;
    double mean, low, high;
    memset(&window, 0, sizeof(window));
    ks_window_add(&window, 1000, 1000);
    ks_window_interval(&window, &mean, &low, &high);
    assert_true(mean == 1 && low < 0.5);
    for (int i = 0; i < 99; i++) ks_window_add(&window, 1000, 1000);
    ks_window_interval(&window, &mean, &low, &high);
    assert_true(low > 0.96 && low < 0.99);
}

/* Queries of very different difficulty: results of one query resemble each other. The interval must hold the true share
 * nearly as often as it says; one that took all results for independent would hold it half the time. */
static void test_interval_covers(void **state) {
    (void)state;
    static const struct {
        size_t queries;
        double hard, share_of_hard; /* of hard queries that share is found, of others all */
    } worlds[] = {{30, 0.2, 0.5}, {100, 0.1, 0.5}, {100, 0.02, 0.3}, {300, 0.5, 0.9}, {1000, 0.1, 0.6}};
    ki_rng rng = {17};
    for (size_t w = 0; w < sizeof(worlds) / sizeof(*worlds); w++) {
        const double truth = 1 - worlds[w].hard * (1 - worlds[w].share_of_hard);
        int held = 0;
        for (int round = 0; round < 400; round++) {
            static ks_window window;
            double mean, low, high;
            memset(&window, 0, sizeof(window));
            for (size_t q = 0; q < worlds[w].queries; q++) {
                const double share = ki_rng_unit(&rng) < worlds[w].hard ? worlds[w].share_of_hard : 1;
                size_t found = 0;
                for (int i = 0; i < K; i++) found += ki_rng_unit(&rng) < share;
                ks_window_add(&window, found, K);
            }
            assert_int_equal(ks_window_interval(&window, &mean, &low, &high), 1);
            assert_true(0 <= low && low <= mean && mean <= high && high <= 1);
            held += low <= truth && truth <= high;
        }
        if (held < 400 * 0.93) fail_msg("world %zu: the true share lay within the bounds %d of 400 times", w, held);
    }
}

/* ---- Judging ----------------------------------------------------------------------------------------------------- */

static void assert_judged(const char *found, const char *truth, int complete, size_t k, int told, size_t right,
                          size_t sought) {
    /* A letter an item, whose distance it is; a capital one is of an item that was written since. */
    ks_seen a[32], b[32];
    size_t got_right = 0, got_sought = 0;
    for (size_t i = 0; found[i]; i++) a[i] = (ks_seen){(float)(found[i] & 31), found[i] >= 'a'};
    for (size_t i = 0; truth[i]; i++) b[i] = (ks_seen){(float)(truth[i] & 31), truth[i] >= 'a'};
    const int was_told = ks_sample_judge(a, strlen(found), b, strlen(truth), complete, k, &got_right, &got_sought);
    if (was_told != told || (told && (got_right != right || got_sought != sought)))
        fail_msg("%s of %s: told %d, %zu of %zu", found, truth, was_told, got_right, got_sought);
}

static void test_judging(void **state) {
    (void)state;
    assert_judged("abcd", "abcdefgh", 0, 4, 1, 4, 4);
    assert_judged("abdf", "abcdefgh", 0, 4, 1, 3, 4); /* c is missing */
    assert_judged("abdd", "abddd", 1, 4, 1, 4, 4);    /* any of those at the same distance */
    assert_judged("aBcd", "acdefghi", 0, 4, 1, 3, 3); /* b is gone */
    assert_judged("abcd", "aABbcdef", 0, 4, 1, 4, 4); /* nearer ones came */
    assert_judged("aBde", "aAcdefgh", 0, 4, 1, 2, 3); /* c was missed all the same */
    assert_judged("abcd", "ABCDEFGH", 0, 4, 0, 0, 0); /* what there is of the old state does not show */
    assert_judged("ABCD", "efghABCD", 0, 4, 1, 0, 0); /* nothing is left to compare */
    assert_judged("ab", "ab", 1, 4, 1, 2, 2);         /* all that match */
    assert_judged("ab", "abc", 1, 4, 1, 2, 3);        /* fewer than there are */
    assert_judged("ab", "abcdefg", 0, 4, 1, 2, 4);
    assert_judged("aB", "a", 1, 4, 1, 1, 1);
    assert_judged("ab", "abC", 1, 4, 1, 2, 2);
    assert_judged("", "", 1, 4, 1, 0, 0);
    assert_judged("", "ab", 1, 4, 1, 0, 2);
    assert_judged("ab", "a", 1, 4, 0, 0, 0); /* b is no longer among the matches, and nothing says why */
}

/* ---- A shelf with a collection, and an answer -------------------------------------------------------------------- */

static struct world {
    ks_shelf *shelf;
    ks_shop *shop;
    kith_result *result;
    ki_rng rng;
    float query[DIM];
    kith_queries queries;
    kith_leg leg;
    ks_call call;
    ks_search search;
    kith_ask_report report;
    kith_hits hits;
    ks_found found;
    ks_log_to log;
    int log_fd;
} w;

static void random_row(float *row) {
    for (size_t d = 0; d < DIM; d++) row[d] = (float)(ki_rng_unit(&w.rng) - 0.5);
}

static void write_rows(uint64_t first, size_t count, const float *rows) {
    uint64_t ids[ITEMS], ends[ITEMS];
    char bytes[ITEMS * 8];
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
        used += (size_t)snprintf(bytes + used, sizeof(bytes) - used, "i%u", (unsigned)(first + i));
        ends[i] = used;
    }
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = DIM};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = w.shop->id_kind == KITH_ID_U64 ? (kith_ids){.count = count, .ids = ids}
                                               : (kith_ids){.count = count, .id_bytes = bytes, .id_ends = ends};
    items.vectors = &vectors;
    items.vector_count = 1;
    OK(kith_collection_write(w.shop->collection, &items, KITH_UPSERT, NULL, &error));
}

static void remove_row(uint64_t number) {
    char text[24];
    const uint64_t end = (uint64_t)snprintf(text, sizeof(text), "i%u", (unsigned)number);
    const kith_ids one = w.shop->id_kind == KITH_ID_U64 ? (kith_ids){.count = 1, .ids = &number}
                                                        : (kith_ids){.count = 1, .id_bytes = text, .id_ends = &end};
    OK(kith_collection_delete(w.shop->collection, &one, NULL, NULL, &error));
}

static void world_make(kith_id_kind id_kind) {
    static const kith_vector_spec spec = {"", DIM, KITH_F32, KITH_L2SQ};
    static float rows[ITEMS][DIM];
    static int made;
    char name[32];
    memset(&w, 0, sizeof(w));
    w.rng = (ki_rng){5};
    snprintf(name, sizeof(name), "shelf%d", made++);
    ks_shelf_options options = {.durability = KITH_DURABILITY_RELAXED};
    mkdir(data_path(name), 0700);
    OK(ks_shelf_open(data_path(name), &options, NULL, NULL, &w.shelf, &error));
    kith_collection_options collection = KITH_COLLECTION_OPTIONS_INIT;
    collection.id_kind = id_kind;
    collection.vectors = &spec;
    collection.vector_count = 1;
    OK(ks_shelf_create(w.shelf, "shop", &collection, &error));
    OK(ks_shelf_borrow(w.shelf, "shop", &w.shop, &error));
    OK(kith_result_create(&w.result, &error));
    for (size_t i = 0; i < ITEMS; i++) random_row(rows[i]);
    write_rows(0, ITEMS, rows[0]);
    w.log_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    w.log = (ks_log_to){.fd = w.log_fd, .level = KS_LOG_DEBUG};
}

static void world_end(void) {
    kith_result_destroy(w.result);
    if (w.shop) ks_shelf_return(w.shelf, w.shop);
    ks_shelf_close(w.shelf);
    close(w.log_fd);
}

/* An answer to a query, as the processor tells of it: exact, and k results. */
static void answer(size_t k) {
    kith_queries queries = KITH_QUERIES_INIT;
    random_row(w.query);
    queries.data = w.query;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = DIM;
    w.queries = queries;
    w.leg = (kith_leg){.queries = &w.queries};
    const kith_ask ask = KITH_ASK_INIT;
    w.search = (ks_search){.call = &w.call, .shop = w.shop, .ask = ask};
    w.search.ask.legs = &w.leg;
    w.search.ask.leg_count = 1;
    w.search.ask.k = k;
    const kith_ask_report report = KITH_ASK_REPORT_INIT;
    w.report = report;
    w.search.ask.report = &w.report;
    OK(kith_collection_search(w.shop->collection, &w.search.ask, w.result, &error));
    w.search.ask.report = NULL;
    const kith_hits hits = KITH_HITS_INIT;
    w.hits = hits;
    OK(kith_result_hits(w.result, &w.hits));
    w.found = (ks_found){.status = KITH_OK, .result = w.result, .hits = &w.hits, .count = 1, .report = &w.report};
}

/* The same, of which the results at `missing` are not there: as an approximate search would have missed them. */
static ks_sample *copy_without(size_t k, const size_t *missing, size_t missing_count) {
    static uint64_t ids[ITEMS], ends[1], id_ends[ITEMS];
    static float distances[ITEMS];
    static char bytes[ITEMS * 8];
    size_t used = 0, byte = 0;
    answer(k + missing_count);
    for (size_t i = 0; i < w.hits.count; i++) {
        int left_out = 0;
        for (size_t m = 0; m < missing_count; m++) left_out |= missing[m] == i;
        if (left_out) continue;
        ids[used] = w.hits.ids[i];
        distances[used] = w.hits.distances[i];
        if (w.hits.id_ends) {
            const size_t from = i ? (size_t)w.hits.id_ends[i - 1] : 0, count = (size_t)w.hits.id_ends[i] - from;
            memcpy(bytes + byte, w.hits.id_bytes + from, count);
            id_ends[used] = byte += count;
        }
        used++;
    }
    ends[0] = used;
    if (w.hits.id_ends) w.hits.id_bytes = bytes, w.hits.id_ends = id_ends;
    w.hits.ids = ids, w.hits.distances = distances, w.hits.ends = ends, w.hits.count = used;
    w.search.ask.k = k;
    assert_true(ks_sample_fits(&w.search, &w.found));
    ks_sample *sample = ks_sample_copy(&w.search, &w.found, 0);
    assert_non_null(sample);
    /* Nothing of it lies in what goes. */
    memset(ids, 0xff, sizeof(ids));
    memset(distances, 0xff, sizeof(distances));
    memset(bytes, 0xff, sizeof(bytes));
    return sample;
}

static int never(void *context) {
    (void)context;
    return 0;
}

static void assert_verdict(ks_sample *sample, ks_verdict verdict, size_t right, size_t sought) {
    ks_again again = {.cancelled = never};
    size_t got_right = 0, got_sought = 0;
    OK(kith_result_create(&again.truth, &error));
    OK(kith_result_create(&again.now, &error));
    error = (kith_error){0};
    const ks_verdict got = ks_sample_check(sample, w.shop->collection, &again, &got_right, &got_sought, &error);
    if (got != verdict || (got == KS_CHECKED && (got_right != right || got_sought != sought)))
        fail_msg("verdict %d, %zu of %zu (%s)", (int)got, got_right, got_sought, error.text);
    kith_result_destroy(again.truth);
    kith_result_destroy(again.now);
    free(sample);
}

static void check_one_kind(kith_id_kind id_kind) {
    static const size_t two[] = {1, 4};
    float near[DIM];
    world_make(id_kind);
    assert_verdict(copy_without(K, NULL, 0), KS_CHECKED, 10, 10);
    assert_verdict(copy_without(K, two, 2), KS_CHECKED, 8, 10);
    /* Something nearer came; the answer was right, and is. */
    ks_sample *sample = copy_without(K, NULL, 0);
    memcpy(near, w.query, sizeof(near));
    write_rows(ITEMS, 1, near);
    assert_verdict(sample, KS_CHECKED, 10, 10);
    sample = copy_without(K, two, 2);
    write_rows(ITEMS + 1, 1, w.query);
    assert_verdict(sample, KS_CHECKED, 8, 10);
    /* One that was found goes, and one of those that were found is written anew. */
    sample = copy_without(K, NULL, 0);
    const uint64_t gone = id_kind == KITH_ID_U64 ? sample->numbers[2] : strtoull(sample->ids.id_bytes + 1, NULL, 10);
    remove_row(gone);
    assert_verdict(sample, KS_CHECKED, 9, 9);
    sample = copy_without(K, NULL, 0);
    const uint64_t first = id_kind == KITH_ID_U64 ? sample->numbers[0] : strtoull(sample->ids.id_bytes + 1, NULL, 10);
    remove_row(first);
    write_rows(first, 1, near);
    assert_verdict(sample, KS_CHECKED, 9, 9);
    /* All is written anew: nothing can be told. */
    sample = copy_without(K, NULL, 0);
    static float rows[ITEMS][DIM];
    for (size_t i = 0; i < ITEMS; i++) random_row(rows[i]);
    write_rows(0, ITEMS, rows[0]);
    write_rows(ITEMS, 2, rows[0]);
    assert_verdict(sample, KS_CHECKED, 0, 0);
    world_end();
}

static void test_numbers_as_ids(void **state) {
    (void)state;
    check_one_kind(KITH_ID_U64);
}

static void test_strings_as_ids(void **state) {
    (void)state;
    check_one_kind(KITH_ID_STRING);
}

static void test_small_collections_and_dropped_generations(void **state) {
    (void)state;
    world_make(KITH_ID_U64);
    for (uint64_t i = 6; i < ITEMS; i++) remove_row(i);
    assert_verdict(copy_without(K, NULL, 0), KS_CHECKED, 6, 6);
    ks_sample *sample = copy_without(K, NULL, 0);
    sample->generation = 7; /* there is none any more */
    assert_verdict(sample, KS_STALE, 0, 0);
    sample = copy_without(K, NULL, 0);
    sample->dim = DIM + 1; /* what cannot be asked at all */
    assert_verdict(sample, KS_FAILED, 0, 0);
    world_end();
}

static void test_what_is_not_asked_again(void **state) {
    (void)state;
    world_make(KITH_ID_U64);
    answer(K);
    assert_true(ks_sample_fits(&w.search, &w.found));
    w.search.ask.leg_count = 2;
    assert_false(ks_sample_fits(&w.search, &w.found));
    w.search.ask.leg_count = 1;
    w.search.ask.profile = "ann";
    assert_false(ks_sample_fits(&w.search, &w.found));
    w.search.ask.profile = NULL;
    w.search.ask.diversity = 0.5;
    assert_false(ks_sample_fits(&w.search, &w.found));
    w.search.ask.diversity = 0;
    w.found.status = KITH_E_DEADLINE;
    assert_false(ks_sample_fits(&w.search, &w.found));
    w.found.status = KITH_OK;
    char *filter = malloc(KS_SAMPLE_BYTES_MAX);
    memset(filter, ' ', KS_SAMPLE_BYTES_MAX);
    filter[KS_SAMPLE_BYTES_MAX - 1] = 0;
    w.search.ask.filter = filter;
    assert_null(ks_sample_copy(&w.search, &w.found, 0));
    free(filter);
    world_end();
}

/* ---- The thread -------------------------------------------------------------------------------------------------- */

static uint64_t outcome(const ks_recaller *recaller, ks_sampled what) {
    return atomic_load(&recaller->outcomes[what]);
}

static void wait_for(ks_recaller *recaller, ks_sampled what, uint64_t count) {
    for (int i = 0; i < 3000 && outcome(recaller, what) < count; i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(outcome(recaller, what), count);
}

static void test_thread_checks_what_is_chosen(void **state) {
    (void)state;
    static ks_recaller recaller;
    ks_counts counts;
    ks_recall recall;
    ks_search *searches[1] = {&w.search};
    world_make(KITH_ID_U64);
    ks_counts_init(&counts);
    OK(ks_recaller_start(&recaller, w.shelf, &w.log, 1, &error));
    assert_int_equal(ks_recaller_tell(&recaller, w.shop->number, &recall), 0);
    for (int i = 0; i < 20; i++) {
        answer(K);
        ks_recaller_batch(&recaller, &counts, searches, &w.found, 1);
        wait_for(&recaller, KS_SAMPLED_CHECKED, (uint64_t)i + 1 - outcome(&recaller, KS_SAMPLED_DROPPED));
    }
    assert_int_equal(ks_recaller_tell(&recaller, w.shop->number, &recall), 1);
    assert_true(recall.mean == 1 && recall.high == 1 && recall.low > 0.7 && recall.checked > 0);
    assert_int_equal(ks_recaller_tell(&recaller, w.shop->number + 1, &recall), 0);
    w.search.ask.profile = "ann";
    ks_recaller_batch(&recaller, &counts, searches, &w.found, 1);
    assert_int_equal(outcome(&recaller, KS_SAMPLED_UNFIT), 1);
    /* The collection goes before its turn. */
    answer(K);
    ks_sample *sample = ks_sample_copy(&w.search, &w.found, 0);
    ks_shelf_return(w.shelf, w.shop);
    w.shop = NULL;
    OK(ks_shelf_drop(w.shelf, "shop", &error));
    const uint64_t stale = outcome(&recaller, KS_SAMPLED_STALE);
    ks_recaller_check(&recaller, sample);
    assert_int_equal(outcome(&recaller, KS_SAMPLED_STALE), stale + 1);
    free(sample);
    ks_recaller_stop(&recaller);
    ks_counts_destroy(&counts);
    world_end();
}

static void test_full_queue_drops(void **state) {
    (void)state;
    static ks_recaller recaller;
    ks_counts counts;
    ks_search *searches[1] = {&w.search};
    world_make(KITH_ID_U64);
    ks_counts_init(&counts);
    OK(ks_recaller_start(&recaller, w.shelf, &w.log, 0, &error)); /* no thread: nobody empties it */
    answer(K);
    ks_recaller_batch(&recaller, &counts, searches, &w.found, 1);
    assert_int_equal(recaller.queued, 0); /* a share of 0 */
    recaller.share = 1;
    for (int i = 0; i < KS_RECALL_QUEUE + 5; i++) ks_recaller_batch(&recaller, &counts, searches, &w.found, 1);
    assert_int_equal(recaller.queued, KS_RECALL_QUEUE);
    assert_int_equal(outcome(&recaller, KS_SAMPLED_DROPPED), 5);
    pthread_mutex_lock(&recaller.mutex); /* somebody holds it: nobody waits */
    ks_recaller_batch(&recaller, &counts, searches, &w.found, 1);
    pthread_mutex_unlock(&recaller.mutex);
    assert_int_equal(outcome(&recaller, KS_SAMPLED_DROPPED), 6);
    ks_recaller_stop(&recaller);
    ks_counts_destroy(&counts);
    world_end();
}

static void test_choosing_is_a_share(void **state) {
    (void)state;
    ks_recaller recaller = {.share = 0.001, .seed = 11};
    ks_counts counts;
    ks_counts_init(&counts);
    ks_shard *shard = ks_counts_shard(&counts, 0);
    size_t chosen = 0, before = 0, gaps[3] = {0};
    for (size_t i = 0; i < 1000000; i++)
        if (ks_recaller_chooses(&recaller, shard, 1)) {
            gaps[i - before < 500 ? 0 : i - before < 1500 ? 1 : 2]++;
            before = i;
            chosen++;
        }
    assert_true(chosen > 850 && chosen < 1150);
    /* Not every thousandth: gaps are as those of chance (39, 38 and 22 of a hundred). */
    assert_true(gaps[0] > chosen / 4 && gaps[1] > chosen / 4 && gaps[2] > chosen / 8);
    for (size_t i = chosen = 0; i < 10000; i++) chosen += (size_t)ks_recaller_chooses(&recaller, shard, 100);
    assert_true(chosen > 850 && chosen < 1150); /* many queries at once are as likely as one by one */
    ks_counts_destroy(&counts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_forgets),
        cmocka_unit_test(test_few_queries_are_not_sure),
        cmocka_unit_test(test_interval_covers),
        cmocka_unit_test(test_judging),
        cmocka_unit_test(test_numbers_as_ids),
        cmocka_unit_test(test_strings_as_ids),
        cmocka_unit_test(test_small_collections_and_dropped_generations),
        cmocka_unit_test(test_what_is_not_asked_again),
        cmocka_unit_test(test_thread_checks_what_is_chosen),
        cmocka_unit_test(test_full_queue_drops),
        cmocka_unit_test(test_choosing_is_a_share),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
