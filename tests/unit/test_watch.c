/* SPDX-License-Identifier: Apache-2.0
 *
 * The watch as a whole over a shelf: what its metrics say of collections, that they are bounded, when it is ready, and
 * at which priority it checks recall.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/watch/inner.h"
#include "state/collection.h"
#include "support/data.h"

#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        const kith_status status_of_call = (call);                                                                     \
        if (status_of_call != KITH_OK) fail_msg("%s: %s", #call, error.text);                                          \
    } while (0)

static ks_shelf *shelf;
static ks_watch *watch;
static int nowhere;

static void make_collection(const char *name) {
    static const kith_vector_spec spec = {"", 4, KITH_F32, KITH_L2SQ};
    static const float rows[2][4] = {{1, 2, 3, 4}, {4, 3, 2, 1}};
    static const uint64_t ids[] = {7, 9};
    ks_shop *shop = NULL;
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    options.vectors = &spec;
    options.vector_count = 1;
    OK(ks_shelf_create(shelf, name, &options, &error));
    OK(ks_shelf_borrow(shelf, name, &shop, &error));
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = 4};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 2, .ids = ids};
    items.vectors = &vectors;
    items.vector_count = 1;
    OK(kith_collection_write(shop->collection, &items, KITH_UPSERT, NULL, &error));
    ks_shelf_return(shelf, shop);
}

static int watch_setup(void **state) {
    static int made;
    char name[32];
    (void)state;
    const ks_shelf_options options = {.durability = KITH_DURABILITY_RELAXED};
    snprintf(name, sizeof(name), "shelf%d", made++);
    if (mkdir(data_path(name), 0700) != 0) return -1;
    OK(ks_shelf_open(data_path(name), &options, NULL, NULL, &shelf, &error));
    make_collection("a \"b\"");
    nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    const ks_watch_options watching = {
        .log_fd = nowhere, .log_level = KS_LOG_INFO, .recall_share = 0.5, .shelf = shelf};
    OK(ks_watch_create(&watching, &watch, &error));
    return 0;
}

static int watch_teardown(void **state) {
    (void)state;
    ks_watch_destroy(watch);
    ks_shelf_close(shelf);
    close(nowhere);
    return 0;
}

static char *written(void) {
    ks_text text = {0};
    ks_scrape scrape = {.text = &text};
    ks_watch_write(watch, &scrape);
    ks_text_add(&text, "", 1);
    assert_false(text.failed);
    return text.bytes;
}

static int says(const char *line) {
    char *text = written();
    const int found = strstr(text, line) != NULL;
    free(text);
    return found;
}

static void assert_says(const char *line) {
    char *text = written();
    if (!strstr(text, line)) fail_msg("\"%s\" is not in:\n%s", line, text);
    free(text);
}

/* The thread looks once a second. */
static void wait_until_it_says(const char *line) {
    for (int i = 0; i < 1000 && !says(line); i++) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_says(line);
}

static void test_metrics_are_there_at_once(void **state) {
    (void)state;
    assert_says("kith_build_info{version=\"");
    assert_says("\nkith_items{collection=\"a \\\"b\\\"\"} 2\n");
    assert_says("\nkith_vectors{collection=\"a \\\"b\\\"\",state=\"head\"} 2\n");
    assert_says("\nkith_generation{collection=\"a \\\"b\\\"\"} 1\n");
    assert_says("\nkith_collections 1\n");
    assert_says("\nkith_queue_depth{queue=\"searches\"} 0\n"); /* nobody is followed yet */
    assert_says("\nprocess_open_fds ");
    assert_false(says("process_open_fds 0\n"));
    assert_false(says("process_resident_memory_bytes 0\n"));
    assert_false(says("process_threads 0\n"));
}

/* The process' start lies before now, and not long. */
static void test_start_time(void **state) {
    (void)state;
    char *text = written();
    const char *line = strstr(text, "\nprocess_start_time_seconds ");
    assert_non_null(line);
    const double age = (double)time(NULL) - strtod(line + strlen("\nprocess_start_time_seconds "), NULL);
    assert_true(age > -2 && age < 3600);
    free(text);
}

static void test_collections_come_and_go(void **state) {
    (void)state;
    make_collection("later");
    wait_until_it_says("\nkith_items{collection=\"later\"} 2\n");
    OK(ks_shelf_drop(shelf, "later", &error));
    wait_until_it_says("\nkith_collections 1\n");
    assert_false(says("later"));
}

static void test_collections_beyond_the_bound_are_added_up(void **state) {
    (void)state;
    char name[32];
    for (int i = 0; i < KS_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof(name), "former-%d", i);
        ks_names_add(&watch->counts.collections, name);
    }
    make_collection("x");
    make_collection("y");
    wait_until_it_says("\nkith_collections 3\n");
    assert_says("\nkith_items{collection=\"other\"} 4\n");
    assert_says("\nkith_items{collection=\"a \\\"b\\\"\"} 2\n");
    assert_false(says("collection=\"x\""));
}

/* ---- Ready ------------------------------------------------------------------------------------------------------- */

static void end_call(ks_role role, int status) {
    const ks_route route = {KS_POST, "/x", role, "x", NULL};
    ks_app app = {.watch = watch};
    ks_call call = {.route = &route, .app = &app, .reply = {.status = status}};
    ks_watch_call(&call, 1000, 10);
}

static void test_ready_when_it_is_said(void **state) {
    (void)state;
    assert_non_null(strstr(ks_watch_trouble(watch), "starting"));
    assert_says("\nkith_ready 0\n");
    ks_watch_ready(watch, 1);
    assert_null(ks_watch_trouble(watch));
    assert_says("\nkith_ready 1\n");
    /* Neither a full disk, nor a mistake of who asks, nor a search that failed. */
    end_call(KS_WRITE, 507);
    end_call(KS_WRITE, 400);
    end_call(KS_READ, 500);
    assert_int_equal(atomic_load(&watch->doubted), 0);
    /* A write that failed may be a sign; here it is none. */
    end_call(KS_WRITE, 500);
    for (int i = 0; i < 1000 && atomic_load(&watch->doubted); i++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    assert_int_equal(atomic_load(&watch->doubted), 0);
    assert_null(ks_watch_trouble(watch));
    assert_says("\nkith_collection_trouble{collection=\"a \\\"b\\\"\"} 0\n");
}

static void test_not_ready_after_an_io_error(void **state) {
    (void)state;
    ks_shop *shop = NULL;
    ks_watch_ready(watch, 1);
    OK(ks_shelf_borrow(shelf, "a \"b\"", &shop, &error));
    shop->collection->poisoned = KITH_E_IO; /* as a commit that failed leaves it */
    end_call(KS_WRITE, 500);
    wait_until_it_says("\nkith_ready 0\n");
    assert_non_null(strstr(ks_watch_trouble(watch), "I/O error"));
    assert_says("\nkith_collection_trouble{collection=\"a \\\"b\\\"\"} 1\n");
    ks_shelf_return(shelf, shop);
    OK(ks_shelf_drop(shelf, "a \"b\"", &error));
    wait_until_it_says("\nkith_ready 1\n");
}

static void test_not_ready_while_it_stops(void **state) {
    (void)state;
    ks_watch_ready(watch, 1);
    ks_watch_ready(watch, 0);
    assert_non_null(ks_watch_trouble(watch));
}

/* ---- The rest ---------------------------------------------------------------------------------------------------- */

static void test_recall_is_checked_at_idle_priority(void **state) {
    (void)state;
    struct sched_param parameters;
    int policy = -1;
    for (int i = 0; i < 1000 && policy != SCHED_IDLE; i++) {
        assert_int_equal(pthread_getschedparam(watch->recaller.thread, &policy, &parameters), 0);
        if (policy != SCHED_IDLE) nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    assert_int_equal(policy, SCHED_IDLE);
}

static void test_shares_that_are_none_are_refused(void **state) {
    (void)state;
    static const double shares[] = {-0.1, 1.1, NAN};
    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
        const ks_watch_options options = {.recall_share = shares[i], .shelf = shelf};
        ks_watch *none = NULL;
        assert_int_equal(ks_watch_create(&options, &none, &error), KITH_E_ARG);
        assert_null(none);
        assert_true(strlen(error.text) > 20);
    }
    ks_watch_destroy(NULL);
}

static void test_recent_and_recall_before_anything(void **state) {
    (void)state;
    ks_recent recent;
    ks_recall recall;
    ks_watch_recent(watch, &recent);
    assert_true(recent.calls_per_s == 0 && recent.p99_ns == 0);
    assert_int_equal(ks_watch_recall(watch, 0, &recall), 0);
}

#define WITH_WATCH(test) cmocka_unit_test_setup_teardown(test, watch_setup, watch_teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_WATCH(test_metrics_are_there_at_once),
        WITH_WATCH(test_start_time),
        WITH_WATCH(test_collections_come_and_go),
        WITH_WATCH(test_collections_beyond_the_bound_are_added_up),
        WITH_WATCH(test_ready_when_it_is_said),
        WITH_WATCH(test_not_ready_after_an_io_error),
        WITH_WATCH(test_not_ready_while_it_stops),
        WITH_WATCH(test_recall_is_checked_at_idle_priority),
        WITH_WATCH(test_shares_that_are_none_are_refused),
        WITH_WATCH(test_recent_and_recall_before_anything),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
