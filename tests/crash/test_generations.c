/* SPDX-License-Identifier: Apache-2.0
 *
 * A machine crashes, or its disk fails or is full, while generations are begun, filled, made current, dropped and begun
 * anew in the slots of those that were dropped: at each operation of the catalog's disk, which lies in memory. Whatever
 * is found then is what was acknowledged, or that with the step that was under way as a whole; each generation that is
 * there answers as it must; and the rest of the steps can be done.
 *
 * Segments lie in the real file system, which stays: that their files and names are synced before the catalog names
 * them is tried in test_collection_kill.c.
 *
 * KITH_STRESS=n: at each operation instead of each ninth one, with n seeds. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collection/create.h"
#include "state/made.h"
#include "support/data.h"
#include "support/disk.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ITEMS = 12, GENERATIONS = 3, DIM_MOST = 8 };

static kith_error error;
static unsigned long long states, crashes;
static const size_t dim_of[GENERATIONS + 1] = {0, 4, 6, 5};

static void must(kith_status status) {
    if (status != KITH_OK) fail_msg("status %d: %s", (int)status, error.text);
}

/* ---- The steps --------------------------------------------------------------------------------------------------- */

enum step { BEGIN_2, FILL_2, FLIP_2, COMPACT, DROP_1, BEGIN_3, FILL_3, FLIP_3, FLIP_BACK, DROP_3, STEPS };

/* What there is after some steps. */
struct state {
    uint32_t current;
    int present[GENERATIONS + 1], filled[GENERATIONS + 1];
};

static struct state state_after(int steps) {
    struct state s = {.current = 1, .present = {0, 1}, .filled = {0, 1}};
    if (steps > BEGIN_2) s.present[2] = 1;
    if (steps > FILL_2) s.filled[2] = 1;
    if (steps > FLIP_2) s.current = 2;
    if (steps > DROP_1) s.present[1] = 0;
    if (steps > BEGIN_3) s.present[3] = 1;
    if (steps > FILL_3) s.filled[3] = 1;
    if (steps > FLIP_3) s.current = 3;
    if (steps > FLIP_BACK) s.current = 2;
    if (steps > DROP_3) s.present[3] = 0;
    return s;
}

static float value_of(uint32_t generation, uint64_t id) {
    return (float)((id * 5 + generation * 3) % ITEMS);
}

static kith_status fill(kith_collection *c, uint32_t generation, uint64_t first, size_t count, kith_write_mode mode) {
    float rows[ITEMS * DIM_MOST];
    uint64_t ids[ITEMS];
    const size_t dim = dim_of[generation];
    for (size_t i = 0; i < count; i++) {
        ids[i] = first + i;
        for (size_t d = 0; d < dim; d++) rows[i * dim + d] = value_of(generation, ids[i]);
    }
    const kith_item_vectors vectors = {.data = rows, .dtype = KITH_F32, .dim = dim, .generation = generation};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = count, .ids = ids};
    items.vectors = &vectors, items.vector_count = 1;
    return kith_collection_write(c, &items, mode, NULL, &error);
}

static kith_status begin_of(kith_collection *c, uint32_t number) {
    const kith_vector_spec spec = {.dim = dim_of[number]};
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    uint32_t begun;
    options.vectors = &spec, options.vector_count = 1;
    const kith_status status = kith_collection_generation_begin(c, &options, &begun, &error);
    if (status == KITH_OK) assert_int_equal(begun, number);
    return status;
}

static kith_status step(kith_collection *c, int number) {
    switch ((enum step)number) {
    case BEGIN_2:
        return begin_of(c, 2);
    case FILL_2:
        return fill(c, 2, 0, ITEMS, KITH_UPDATE);
    case FLIP_2:
        return kith_collection_flip(c, 2, NULL, NULL, &error);
    case COMPACT:
        return kith_collection_compact(c, NULL, NULL, &error);
    case DROP_1:
        return kith_collection_generation_drop(c, 1, &error);
    case BEGIN_3:
        return begin_of(c, 3);
    case FILL_3:
        return fill(c, 3, 0, ITEMS, KITH_UPDATE);
    case FLIP_3:
        return kith_collection_flip(c, 3, NULL, NULL, &error);
    case FLIP_BACK:
        return kith_collection_flip(c, 0, NULL, NULL, &error);
    case DROP_3:
        return kith_collection_generation_drop(c, 3, &error);
    default:
        return KITH_E_ARG;
    }
}

/* ---- A collection on the disk ------------------------------------------------------------------------------------ */

static char path[600];

/* Its catalog is made on the disk; in the folder a file of that name says that there is one. */
static void make(const char *name) {
    const kith_vector_spec spec = {.dim = dim_of[1]};
    kith_collection_options options = KITH_COLLECTION_OPTIONS_INIT;
    const ki_catalog_options made_new = {.create = 1};
    ki_catalog *catalog = NULL;
    ki_schema *schema = NULL;
    ki_made made = {0};
    char file[700];
    options.vectors = &spec, options.vector_count = 1;
    snprintf(path, sizeof(path), "%s", data_path(name));
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(file, sizeof(file), "%s/segments", path);
    assert_int_equal(mkdir(file, 0700), 0);
    snprintf(file, sizeof(file), "%s/catalog.sqlite", path);
    must(ki_made_create(&options, &made, &schema, &error));
    must(ki_catalog_open_sqlite(file, &made_new, &catalog, &error));
    must(ki_create_settings(catalog, &made, schema, &error));
    ki_catalog_close(catalog);
    ki_schema_destroy(schema);
    ki_made_free(&made);
    const int fd = open(file, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static kith_status open_shop(kith_collection **c) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.no_background = 1;
    options.threads = 1;
    return kith_collection_open(path, &options, c, &error);
}

/* ---- What is found ----------------------------------------------------------------------------------------------- */

static void check_answers(kith_collection *c, uint32_t generation, int filled) {
    const size_t dim = dim_of[generation];
    float row[DIM_MOST];
    for (size_t d = 0; d < dim; d++) row[d] = 3;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = row, queries.dtype = KITH_F32, queries.count = 1, queries.dim = dim;
    const kith_leg leg = {.queries = &queries};
    kith_hits hits = KITH_HITS_INIT;
    kith_result *result = NULL;
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg, ask.leg_count = 1, ask.k = ITEMS, ask.generation = generation;
    must(kith_result_create(&result, &error));
    must(kith_collection_search(c, &ask, result, &error));
    must(kith_result_hits(result, &hits));
    assert_int_equal(hits.count, filled ? ITEMS : 0);
    for (size_t i = 0; i < hits.count; i++) {
        const float off = value_of(generation, hits.ids[i]) - 3;
        assert_true(hits.distances[i] == (float)dim * off * off);
    }
    kith_result_destroy(result);
}

static int is_in(kith_collection *c, const struct state *s) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_vector_spec spec;
    must(kith_collection_get_info(c, &info));
    if (info.generation != s->current || info.items != ITEMS) return 0;
    for (uint32_t g = 1; g <= GENERATIONS; g++) {
        const int there = kith_collection_generation_vector(c, g, 0, &spec, NULL) == KITH_OK;
        if (there != s->present[g]) return 0;
        if (there) assert_int_equal(spec.dim, dim_of[g]);
    }
    return 1;
}

static void check_state(kith_collection *c, const struct state *s) {
    assert_true(is_in(c, s));
    for (uint32_t g = 1; g <= GENERATIONS; g++)
        if (s->present[g]) check_answers(c, g, s->filled[g]);
}

/* Whether a filled generation is: the one thing that the table does not say. */
static uint64_t with_vectors(kith_collection *c, uint32_t generation) {
    kith_generation_check_options options = KITH_GENERATION_CHECK_OPTIONS_INIT;
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    options.sample = 0;
    must(kith_collection_generation_check(c, generation, &options, &report, &error));
    return report.with_vectors;
}

/* Which of two states it is: the number of steps that are done. */
static int steps_done(kith_collection *c, int acknowledged) {
    const struct state before = state_after(acknowledged), after = state_after(acknowledged + 1);
    if (acknowledged == STEPS) return STEPS;
    if (acknowledged == FILL_2) return with_vectors(c, 2) ? FILL_2 + 1 : FILL_2;
    if (acknowledged == FILL_3) return with_vectors(c, 3) ? FILL_3 + 1 : FILL_3;
    if (is_in(c, &before)) return acknowledged;
    assert_true(is_in(c, &after));
    return acknowledged + 1;
}

/* Open what is left, look at it, and do the rest. */
static void check_left(int acknowledged) {
    kith_collection *c = NULL;
    must(open_shop(&c));
    int done = steps_done(c, acknowledged);
    struct state s = state_after(done);
    check_state(c, &s);
    for (; done < STEPS; done++) {
        must(step(c, done));
        s = state_after(done + 1);
        check_state(c, &s);
    }
    kith_collection_close(c);
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
    states++;
}

/* ---- Faults ------------------------------------------------------------------------------------------------------ */

/* One run with a fault at an operation; 0: it came to its end without. */
static int run_with(disk_fault fault, uint64_t at, uint64_t seed) {
    static unsigned counter;
    char name[40], command[700];
    kith_collection *c = NULL;
    int done = 0;
    struct disk *disk = disk_create("test", 1);
    sqlite3_vfs *usual = sqlite3_vfs_find(NULL);
    assert_int_equal(sqlite3_vfs_register(sqlite3_vfs_find("test"), 1), SQLITE_OK);
    snprintf(name, sizeof(name), "shop%u", counter++);
    make(name);
    must(open_shop(&c));
    must(fill(c, 1, 0, ITEMS / 2, KITH_UPSERT));
    must(kith_collection_compact(c, NULL, NULL, &error));
    must(fill(c, 1, ITEMS / 2, ITEMS - ITEMS / 2, KITH_UPSERT));
    disk_set_fault(disk, fault, DISK_CHANGES, at, fault == DISK_FULL);
    while (done < STEPS && step(c, done) == KITH_OK) done++;
    const int met = disk_faults(disk) > 0;
    kith_collection_close(c);
    if (fault == DISK_CRASH)
        disk_restart(disk, seed);
    else
        disk_revive(disk);
    if (met || done < STEPS) check_left(done);
    crashes += (unsigned)met;
    assert_int_equal(sqlite3_vfs_register(usual, 1), SQLITE_OK);
    disk_destroy(disk);
    snprintf(command, sizeof(command), "rm -rf '%s'", path);
    assert_int_equal(system(command), 0);
    return met;
}

static void run_everywhere(disk_fault fault, const char *what) {
    const char *stress = getenv("KITH_STRESS");
    const uint64_t every = stress ? 1 : 9, seeds = stress && atoi(stress) > 0 ? (uint64_t)atoi(stress) : 1;
    states = crashes = 0;
    for (uint64_t at = 1, met = 1; met; at += every)
        for (uint64_t seed = 0; seed < seeds; seed++) met = (uint64_t)run_with(fault, at, at * seeds + seed);
    print_message("%s: %llu times, %llu states looked at, none between two\n", what, crashes, states);
    assert_true(crashes > 5);
}

static void test_crashes(void **state) {
    (void)state;
    run_everywhere(DISK_CRASH, "crash of the machine");
}

static void test_errors(void **state) {
    (void)state;
    run_everywhere(DISK_ERROR, "a failing call");
}

static void test_full(void **state) {
    (void)state;
    run_everywhere(DISK_FULL, "a full disk");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_full),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
