/* SPDX-License-Identifier: Apache-2.0
 *
 * A process that loads items is killed: at each of the library's calls of its progress function, and at random
 * microseconds. Opened again, the collection has all of the load or nothing, every item that was there before, and no
 * file too many; it verifies; and a load that resumes gives what one that was never killed does.
 *
 * KITH_STRESS=n: n times as many rounds. Started with arguments, this program is the child. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/data.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DIM = 8, ROWS = 600, BEFORE = 50, AT_RANDOM = 12 };

static const kith_vector_spec specs[] = {{"", DIM, KITH_F32, KITH_L2SQ}, {"other", DIM, KITH_F16, KITH_L2SQ}};
static kith_error error;
static const char *program;

static void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

static float value_of(uint64_t id, int loaded) {
    return (float)id + (loaded ? 0.5F : 0);
}

static kith_collection *open_it(const char *path) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *shop = NULL;
    options.no_background = 1;
    options.threads = 1;
    return kith_collection_open(path, &options, &shop, &error) == KITH_OK ? shop : NULL;
}

/* ---- The child --------------------------------------------------------------------------------------------------- */

static unsigned left; /* calls until it dies; 0: it lives */

static int die_at(void *context, const kith_progress *progress) {
    (void)context;
    (void)progress;
    if (left && --left == 0) (void)raise(SIGKILL);
    return 0;
}

static kith_status give_payloads(void *context, uint64_t first, size_t count, kith_payloads *to, kith_error *why) {
    static char bytes[ROWS * 24];
    static uint64_t ends[ROWS];
    uint64_t used = 0;
    (void)context;
    (void)why;
    for (size_t i = 0; i < count; i++) {
        used += (uint64_t)sprintf(bytes + used, "{\"n\":%llu}", (unsigned long long)(first + i));
        ends[i] = used;
    }
    *to = (kith_payloads){bytes, ends};
    return KITH_OK;
}

static kith_status load_all(kith_collection *shop, int resume, kith_load_report *report) {
    static float rows[ROWS][DIM];
    kith_load_vectors vectors[] = {{"", NULL}, {"other", NULL}};
    kith_load_options options = KITH_LOAD_OPTIONS_INIT;
    options.payloads = give_payloads;
    options.progress = die_at;
    options.resume = resume;
    options.threads = 1;
    for (uint64_t i = 0; i < ROWS; i++)
        for (size_t d = 0; d < DIM; d++) rows[i][d] = value_of(i, 1);
    kith_status status = kith_reader_from_memory(rows, KITH_F32, ROWS, DIM, 0, NULL, &vectors[0].reader, &error);
    if (status == KITH_OK)
        status = kith_reader_from_memory(rows, KITH_F32, ROWS, DIM, 0, NULL, &vectors[1].reader, &error);
    if (status == KITH_OK) status = kith_collection_load(shop, vectors, 2, &options, report, &error);
    kith_reader_close(vectors[0].reader);
    kith_reader_close(vectors[1].reader);
    return status;
}

static int be_child(char **argv) {
    kith_collection *shop = open_it(argv[1]);
    left = (unsigned)strtoul(argv[2], NULL, 10);
    if (!shop) return 2;
    const kith_status status = load_all(shop, 0, NULL);
    kith_collection_close(shop);
    return status == KITH_OK ? 0 : 3;
}

/* ---- The parent -------------------------------------------------------------------------------------------------- */

static void make_shop(const char *path) {
    static float rows[BEFORE][DIM];
    static uint64_t ids[BEFORE];
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = DIM};
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    kith_items items = KITH_ITEMS_INIT;
    options.vectors = specs;
    options.vector_count = 2;
    for (uint64_t i = 0; i < BEFORE; i++) {
        ids[i] = i * 20; /* some are loaded too */
        for (size_t d = 0; d < DIM; d++) rows[i][d] = value_of(ids[i], 0);
    }
    items.ids = (kith_ids){.count = BEFORE, .ids = ids};
    items.vectors = &vectors;
    items.vector_count = 1;
    must(kith_collection_create(path, &options, &error));
    kith_collection *shop = open_it(path);
    assert_non_null(shop);
    must(kith_collection_write(shop, &items, KITH_UPSERT, NULL, &error));
    kith_collection_close(shop);
}

/* Whether it was killed. microseconds 0: it dies at a call. */
static int run_child(const char *path, unsigned calls, unsigned microseconds) {
    char number[16];
    int how = 0;
    snprintf(number, sizeof(number), "%u", calls);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)execl(program, program, path, number, (char *)NULL);
        _exit(9);
    }
    if (microseconds) {
        usleep(microseconds);
        (void)kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    if (WIFEXITED(how)) assert_int_equal(WEXITSTATUS(how), 0);
    return WIFSIGNALED(how);
}

/* All of the load, or nothing. */
static int look(kith_collection *shop) {
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    const uint8_t *present;
    uint64_t count = 0, ids[ROWS + BEFORE * 20];
    must(kith_collection_count(shop, NULL, &count, &error));
    const uint64_t beyond = BEFORE - ROWS / 20; /* of the old ones that are not loaded */
    const int loaded = count == ROWS + beyond;
    if (!loaded) assert_int_equal(count, BEFORE);
    for (uint64_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) ids[i] = i;
    must(kith_result_create(&result, &error));
    must(kith_collection_get(shop, &(kith_ids){.count = ROWS + BEFORE * 20, .ids = ids},
                             KITH_WITH_VECTORS | KITH_WITH_PAYLOAD, result, &error));
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, count);
    const float *rows = kith_result_vectors(result, "", &present);
    for (size_t i = 0; i < hits.count; i++) {
        const int new = loaded &&hits.ids[i] < ROWS;
        const uint64_t bytes = hits.payload_ends[i] - (i ? hits.payload_ends[i - 1] : 0);
        assert_true(present[i] && rows[i * DIM + 3] == value_of(hits.ids[i], new));
        assert_int_equal(bytes > 0, new);
    }
    kith_result_destroy(result);
    return loaded;
}

/* What is there after a kill, and after going on. *loaded: the killed one had come through. */
static void check(const char *path, int *loaded) {
    char folder[4096];
    struct stat about;
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
    kith_collection *shop = open_it(path);
    if (!shop) fail_msg("%s", error.text);
    *loaded = look(shop);
    if (!*loaded) must(load_all(shop, 1, NULL));
    assert_true(look(shop));
    kith_collection_close(shop);
    snprintf(folder, sizeof(folder), "%s/load", path);
    assert_int_not_equal(stat(folder, &about), 0);
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
}

static const char *next_path(void) {
    static unsigned counter;
    static char name[32];
    snprintf(name, sizeof(name), "killed%u", counter++);
    return data_path(name);
}

static void test_killed_at_calls(void **state) {
    (void)state;
    for (unsigned calls = 1;; calls++) {
        const char *path = next_path();
        int loaded = 0;
        make_shop(path);
        const int killed = run_child(path, calls, 0);
        check(path, &loaded);
        if (!killed) break;
        assert_false(loaded);
        assert_true(calls < 1000);
    }
}

/* A kill in the middle of the last step, which takes the manifest away first. */
static void test_what_cannot_be_resumed_goes(void **state) {
    const char *path = next_path();
    char name[4096];
    int loaded = 0;
    (void)state;
    make_shop(path);
    snprintf(name, sizeof(name), "%s/load", path);
    assert_int_equal(mkdir(name, 0777), 0);
    snprintf(name, sizeof(name), "%s/load/items", path);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    assert_int_equal(fclose(file), 0);
    kith_collection *shop = open_it(path);
    assert_non_null(shop);
    snprintf(name, sizeof(name), "%s/load", path);
    struct stat about;
    assert_int_not_equal(stat(name, &about), 0);
    kith_collection_close(shop);
    check(path, &loaded);
}

static void test_killed_at_random(void **state) {
    (void)state;
    const char *stress = getenv("KITH_STRESS");
    const unsigned rounds = AT_RANDOM * (stress ? (unsigned)strtoul(stress, NULL, 10) : 1);
    for (unsigned round = 0; round < rounds; round++) {
        const char *path = next_path();
        int loaded = 0;
        make_shop(path);
        (void)run_child(path, 0, 1000 + round % AT_RANDOM * 5000 + round * 7 % 911);
        check(path, &loaded);
    }
}

int main(int argc, char **argv) {
    program = argv[0];
    if (argc > 2) return be_child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_killed_at_calls),
        cmocka_unit_test(test_what_cannot_be_resumed_goes),
        cmocka_unit_test(test_killed_at_random),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
