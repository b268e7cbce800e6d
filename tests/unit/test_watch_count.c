/* SPDX-License-Identifier: Apache-2.0
 *
 * Counting of calls and batches: what is in the metrics afterwards, that their labels are bounded, and the two formats.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/watch/count.h"
#include "../../server/watch/names.h"
#include "../../server/watch/recent.h"
#include "../../server/watch/scrape.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ks_counts counts;

static int counts_setup(void **state) {
    (void)state;
    ks_counts_init(&counts);
    return 0;
}

static int counts_teardown(void **state) {
    (void)state;
    ks_counts_destroy(&counts);
    return 0;
}

static char *written(int open) {
    ks_text text = {0};
    ks_scrape scrape = {.text = &text, .open = open};
    ks_counts_write(&counts, &scrape);
    ks_scrape_end(&scrape);
    ks_text_add(&text, "", 1);
    assert_false(text.failed);
    return text.bytes;
}

/* The value of a sample, by all that stands before it; -1: there is none. */
static double value_of(const char *text, const char *head) {
    const size_t bytes = strlen(head);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (strncmp(line, head, bytes) == 0 && line[bytes] == ' ') return strtod(line + bytes + 1, NULL);
    return -1;
}

static void assert_value(const char *text, const char *head, double value) {
    const double found = value_of(text, head);
    if (found != value) fail_msg("%s is %g, but %g was expected, in\n%s", head, found, value, text);
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static void test_names_keep_their_numbers(void **state) {
    (void)state;
    ks_names names;
    char name[32];
    ks_names_init(&names, 100);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 150; i++) {
            snprintf(name, sizeof(name), "name %d", i);
            assert_int_equal(ks_names_add(&names, name), i < 100 ? i : -1);
            assert_int_equal(ks_names_find(&names, name), i < 100 ? i : -1);
        }
    assert_int_equal(ks_names_count(&names), 100);
    assert_string_equal(ks_names_at(&names, 42), "name 42");
    ks_names_destroy(&names);
}

/* ---- Buckets ----------------------------------------------------------------------------------------------------- */

static void test_bounds_are_those_that_are_written(void **state) {
    (void)state;
    for (unsigned i = 0; i + 1 < KS_BUCKETS; i++) {
        const uint64_t ns = (uint64_t)llround(strtod(ks_bucket_bounds[i], NULL) * 1e9);
        assert_int_equal(ks_bucket_of(ns), i); /* "le": up to and with it */
        assert_int_equal(ks_bucket_of(ns + 1), i + 1);
    }
    assert_int_equal(ks_bucket_of(0), 0);
    assert_int_equal(ks_bucket_of(UINT64_MAX), KS_BUCKETS - 1);
}

static void test_fine_buckets_are_near(void **state) {
    (void)state;
    unsigned before = 0;
    for (uint64_t ns = 8000; ns < UINT64_C(100000000000); ns += ns / 97 + 1) {
        const unsigned bucket = ks_fine_of(ns);
        assert_true(bucket == before || bucket == before + 1 || before == 0);
        before = bucket;
        assert_true(fabs(ks_fine_ns(bucket) / (double)ns - 1) < 0.13);
    }
    assert_int_equal(ks_fine_of(0), 0);
    assert_int_equal(ks_fine_of(UINT64_MAX), KS_FINE - 1);
}

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

static void count_call(unsigned loop, const char *op, const char *collection, int status, uint64_t ns) {
    ks_counts_call(&counts, loop,
                   &(ks_counted){.op = op,
                                 .collection = collection,
                                 .status = status,
                                 .total_ns = ns,
                                 .queries = 1,
                                 .received_bytes = 10,
                                 .sent_bytes = 100});
}

/* Numbers of what no plan says begin behind the last plan. */
static void test_every_plan_is_counted(void **state) {
    (void)state;
    for (int plan = KS_PLAN_CACHED; plan < KS_PLAN_CACHED + 100; plan++)
        assert_string_equal(kith_plan_name((kith_plan)plan), "?");
    assert_string_equal(kith_plan_name((kith_plan)(KS_PLAN_CACHED - 1)), "device");
}

static void test_calls_of_all_loops_add_up(void **state) {
    (void)state;
    count_call(0, "query", "shop", 200, 40000);
    count_call(1, "query", "shop", 200, 60000);
    count_call(65, "query", "shop", 200, 700000000);
    count_call(2, "query", "shop", 503, 1000);
    count_call(2, "list", NULL, 200, 1000);
    count_call(3, NULL, NULL, 404, 1000);
    char *text = written(0);
    assert_value(text, "kith_requests_total{op=\"query\",collection=\"shop\",status=\"200\"}", 3);
    assert_value(text, "kith_requests_total{op=\"query\",collection=\"shop\",status=\"503\"}", 1);
    assert_value(text, "kith_requests_total{op=\"list\",collection=\"\",status=\"200\"}", 1);
    assert_value(text, "kith_requests_total{op=\"none\",collection=\"\",status=\"404\"}", 1);
    assert_value(text, "kith_request_duration_seconds_bucket{op=\"query\",le=\"5e-05\"}", 2);
    assert_value(text, "kith_request_duration_seconds_bucket{op=\"query\",le=\"0.0001\"}", 3);
    assert_value(text, "kith_request_duration_seconds_bucket{op=\"query\",le=\"0.5\"}", 3);
    assert_value(text, "kith_request_duration_seconds_bucket{op=\"query\",le=\"1.0\"}", 4);
    assert_value(text, "kith_request_duration_seconds_bucket{op=\"query\",le=\"+Inf\"}", 4);
    assert_value(text, "kith_request_duration_seconds_count{op=\"query\"}", 4);
    assert_value(text, "kith_request_duration_seconds_sum{op=\"query\"}", 0.700101);
    assert_value(text, "kith_request_bytes_total", 60);
    assert_value(text, "kith_response_bytes_total", 600);
    free(text);
}

/* Of names that come with calls that failed none is taken: anybody can send those. */
static void test_unknown_collections_make_no_labels(void **state) {
    (void)state;
    char name[32];
    count_call(0, "query", "shop", 200, 1000);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "guess-%d", i);
        count_call(0, "query", name, 404, 1000);
    }
    count_call(0, "query", "shop", 400, 1000);
    char *text = written(0);
    assert_null(strstr(text, "guess"));
    assert_value(text, "kith_requests_total{op=\"query\",collection=\"other\",status=\"404\"}", 1000);
    assert_value(text, "kith_requests_total{op=\"query\",collection=\"shop\",status=\"400\"}", 1);
    free(text);
}

static void test_labels_are_bounded(void **state) {
    (void)state;
    char op[32], collection[32];
    uint64_t sum = 0, series = 0;
    for (int o = 0; o < 150; o++)
        for (int c = 0; c < 250; c++) {
            snprintf(op, sizeof(op), "op-%d", o);
            snprintf(collection, sizeof(collection), "shop-%d", c);
            count_call(0, op, collection, 200, 1000);
        }
    char *text = written(0);
    for (const char *line = text; (line = strstr(line, "\nkith_requests_total{")) != NULL; line++) {
        sum += strtoull(strchr(line, '}') + 2, NULL, 10);
        series++;
    }
    assert_int_equal(sum, 150 * 250); /* nothing is lost */
    assert_true(series <= KS_SERIES);
    assert_non_null(strstr(text, "collection=\"other\""));
    assert_non_null(strstr(text, "op=\"other\""));
    assert_null(strstr(text, "shop-249"));
    free(text);
}

static void *count_many(void *context) {
    for (int i = 0; i < 20000; i++) count_call(*(unsigned *)context, i % 2 ? "a" : "b", "shop", 200 + i % 5, 1000);
    return NULL;
}

static void test_threads_lose_nothing(void **state) {
    (void)state;
    pthread_t threads[4];
    unsigned loops[4] = {0, 0, 1, 65};
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, count_many, &loops[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    char *text = written(0);
    assert_value(text, "kith_request_duration_seconds_count{op=\"a\"}", 40000);
    assert_value(text, "kith_requests_total{op=\"b\",collection=\"shop\",status=\"200\"}", 8000);
    free(text);
}

/* ---- Batches ----------------------------------------------------------------------------------------------------- */

static void test_batches(void **state) {
    (void)state;
    ks_call call = {.loop = 3};
    ks_search search[3];
    ks_search *searches[3];
    ks_found found[3];
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    report.exact = 0;
    report.segments_ns = 200000;
    for (int i = 0; i < 3; i++) {
        search[i] = (ks_search){.call = &call};
        searches[i] = &search[i];
        found[i] =
            (ks_found){.status = KITH_OK, .report = &report, .count = 2, .waited_ns = 70000, .searched_ns = 300000};
    }
    ks_counts_batch(&counts, searches, found, 3);
    report.cached = 1;
    ks_counts_batch(&counts, searches, found, 1);
    kith_explain explain = KITH_EXPLAIN_INIT;
    explain.plan = KITH_PLAN_IVF;
    report.cached = 0;
    found[0].explain = &explain;
    ks_counts_batch(&counts, searches, found, 1);
    found[0].status = KITH_E_DEADLINE;
    ks_counts_batch(&counts, searches, found, 1);
    ks_counts_batch(&counts, searches, found, 0);
    char *text = written(0);
    assert_value(text, "kith_search_plans_total{plan=\"approximate\"}", 6);
    assert_value(text, "kith_search_plans_total{plan=\"cached\"}", 2);
    assert_value(text, "kith_search_plans_total{plan=\"ivf\"}", 2);
    assert_value(text, "kith_batch_size_bucket{le=\"4.0\"}", 2);
    assert_value(text, "kith_batch_size_bucket{le=\"8.0\"}", 3);
    assert_value(text, "kith_batch_size_sum", 10);
    assert_value(text, "kith_queries_total", 10);
    assert_value(text, "kith_search_stage_duration_seconds_count{stage=\"wait\"}", 6);
    assert_value(text, "kith_search_stage_duration_seconds_count{stage=\"search\"}", 3);
    assert_value(text, "kith_search_stage_duration_seconds_count{stage=\"segments\"}", 3);
    assert_value(text, "kith_search_stage_duration_seconds_count{stage=\"filter\"}", -1); /* it took no part */
    free(text);
}

/* ---- The last seconds -------------------------------------------------------------------------------------------- */

static void test_recent_is_a_difference(void **state) {
    (void)state;
    ks_recents recents;
    ks_recent recent;
    ks_sums sums;
    ks_recents_init(&recents);
    ks_recents_tell(&recents, &recent);
    assert_true(recent.calls_per_s == 0 && recent.p99_ns == 0);
    count_call(0, "query", "shop", 200, 5000000000); /* long ago */
    for (uint64_t second = 0; second < 20; second++) {
        ks_counts_sum(&counts, &sums);
        ks_recents_look(&recents, &sums, second * 1000000000);
        for (int i = 0; i < 100; i++) count_call(0, "query", "shop", i % 50 ? 200 : 500, i < 98 ? 1000000 : 40000000);
    }
    ks_recents_tell(&recents, &recent);
    assert_true(recent.calls_per_s == 100);
    assert_true(recent.errors_per_s == 2);
    assert_true(recent.p50_ns > 0.93e6 && recent.p50_ns < 1.07e6);
    assert_true(recent.p99_ns > 37e6 && recent.p99_ns < 43e6);
    assert_true(recent.queries_per_s == 0 && recent.batch_mean == 0); /* no batch was answered */
    ks_recents_destroy(&recents);
}

/* ---- Formats ----------------------------------------------------------------------------------------------------- */

static void write_some(ks_text *text, int open) {
    ks_scrape scrape = {.text = text, .open = open};
    ks_scrape_family(&scrape, "kith_calls", KS_COUNTER, NULL, "Calls.");
    ks_scrape_uint(&scrape, (const ks_label[]){{"a", "\"x\\y\n"}, {"b", NULL}, {"c", "\xc3\xa4"}}, 3, 7);
    ks_scrape_family(&scrape, "kith_now_seconds", KS_GAUGE, "seconds", "Now.");
    ks_scrape_real(&scrape, NULL, 0, 0.25);
    ks_scrape_real(&scrape, NULL, 0, NAN);
    ks_scrape_real(&scrape, NULL, 0, INFINITY);
    ks_scrape_family(&scrape, "kith_build", KS_INFO, NULL, "Build.");
    ks_scrape_uint(&scrape, &(ks_label){"version", "1"}, 1, 1);
    ks_scrape_end(&scrape);
    ks_text_add(text, "", 1);
}

static void test_both_formats(void **state) {
    (void)state;
    ks_text text = {0};
    write_some(&text, 0);
    assert_string_equal(text.bytes, "# HELP kith_calls_total Calls.\n# TYPE kith_calls_total counter\n"
                                    "kith_calls_total{a=\"\\\"x\\\\y\\n\",c=\"\xc3\xa4\"} 7\n"
                                    "# HELP kith_now_seconds Now.\n# TYPE kith_now_seconds gauge\n"
                                    "kith_now_seconds 0.25\nkith_now_seconds NaN\nkith_now_seconds +Inf\n"
                                    "# HELP kith_build_info Build.\n# TYPE kith_build_info gauge\n"
                                    "kith_build_info{version=\"1\"} 1\n");
    ks_text_clear(&text);
    write_some(&text, 1);
    assert_string_equal(text.bytes, "# HELP kith_calls Calls.\n# TYPE kith_calls counter\n"
                                    "kith_calls_total{a=\"\\\"x\\\\y\\n\",c=\"\xc3\xa4\"} 7\n"
                                    "# HELP kith_now_seconds Now.\n# TYPE kith_now_seconds gauge\n"
                                    "# UNIT kith_now_seconds seconds\n"
                                    "kith_now_seconds 0.25\nkith_now_seconds NaN\nkith_now_seconds +Inf\n"
                                    "# HELP kith_build Build.\n# TYPE kith_build info\n"
                                    "kith_build_info{version=\"1\"} 1\n# EOF\n");
    ks_text_free(&text);
}

#define WITH_COUNTS(test) cmocka_unit_test_setup_teardown(test, counts_setup, counts_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_keep_their_numbers),
        cmocka_unit_test(test_bounds_are_those_that_are_written),
        cmocka_unit_test(test_fine_buckets_are_near),
        cmocka_unit_test(test_every_plan_is_counted),
        WITH_COUNTS(test_calls_of_all_loops_add_up),
        WITH_COUNTS(test_unknown_collections_make_no_labels),
        WITH_COUNTS(test_labels_are_bounded),
        WITH_COUNTS(test_threads_lose_nothing),
        WITH_COUNTS(test_batches),
        WITH_COUNTS(test_recent_is_a_difference),
        cmocka_unit_test(test_both_formats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
