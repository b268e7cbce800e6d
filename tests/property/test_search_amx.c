/* SPDX-License-Identifier: Apache-2.0
 *
 * Whole searches by the amx tier's tile kernels, also where the machine has no tiles: the table of kernels that the
 * search asks for is exchanged at link time for the amx one. Tile instructions are the processor's where it has them,
 * and tests/support/amx_emulator.h does them elsewhere. Answers are held against the plain plan, bit for bit.
 *
 * link: -Wl,--wrap=ki_tile */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/amx_emulator.h"
#include "support/data.h"

#include "cpu/cpu.h"
#include "kernel/tile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ki_tile_kernels table;

const ki_tile_kernels *__wrap_ki_tile(void);

const ki_tile_kernels *__wrap_ki_tile(void) {
    return &table;
}

enum { QUERIES = 70, K = 10 };

static char path[128];

static kith_index *build(const data_set *set, kith_first_level first_level) {
    kith_error error = {0};
    kith_reader *reader = NULL;
    kith_index *index = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = set->metric;
    options.first_level = first_level;
    options.threads = 1;
    if (kith_reader_from_memory(set->bytes, set->dtype, set->rows, set->dim, 0, set->ids, &reader, &error) != KITH_OK ||
        kith_build(reader, path, &options, NULL, &error) != KITH_OK ||
        kith_index_open(path, NULL, &index, &error) != KITH_OK)
        fail_msg("%s", error.text);
    kith_reader_close(reader);
    return index;
}

static void search(const kith_index *index, const void *queries, size_t dim, size_t count, kith_plan plan,
                   uint64_t *ids, float *distances) {
    kith_error error = {0};
    kith_scratch *scratch = NULL;
    kith_queries asked = KITH_QUERIES_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    asked.data = queries;
    asked.dtype = KITH_F32;
    asked.count = count;
    asked.dim = dim;
    options.plan = plan;
    if (kith_scratch_create(index, NULL, &scratch, &error) != KITH_OK ||
        kith_search(index, &asked, K, &options, scratch, ids, distances, &error) != KITH_OK)
        fail_msg("%s", error.text);
    kith_scratch_destroy(scratch);
}

static void compare(data_kind kind, kith_metric metric, size_t rows, size_t dim) {
    const kith_first_level first_level = dim >= 64 ? KITH_FIRST_LEVEL_ON : KITH_FIRST_LEVEL_NONE;
    data_set set = data_make(kind, KITH_F32, metric, rows, dim, 7 * rows + dim, 0);
    void *queries = data_queries(&set, kind, KITH_F32, QUERIES, 5);
    kith_index *index = build(&set, first_level);
    uint64_t plain_ids[QUERIES * K], ids[QUERIES * K];
    float plain_distances[QUERIES * K], distances[QUERIES * K];
    search(index, queries, dim, QUERIES, KITH_PLAN_PLAIN, plain_ids, plain_distances);
    static const size_t counts[] = {1, 4, 5, 12, 13, 16, 17, 24, 32, QUERIES};
    for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++)
        for (kith_plan plan = KITH_PLAN_SCAN; plan <= KITH_PLAN_LEVELS; plan++) {
            if (plan == KITH_PLAN_LEVELS && first_level == KITH_FIRST_LEVEL_NONE) continue;
            search(index, queries, dim, counts[c], plan, ids, distances);
            assert_memory_equal(ids, plain_ids, counts[c] * K * sizeof(*ids));
            assert_memory_equal(distances, plain_distances, counts[c] * K * sizeof(*distances));
            assert_int_equal(amx_tiles_configured(), 0);
        }
    kith_index_close(index);
    free(queries);
    data_free(&set);
}

static void same_bits_as_the_plain_plan(void **state) {
    (void)state;
    const uint32_t found = ki_cpu_features_found(), needed = KI_AVX2 | KI_AVX512 | KI_AVX512VNNI;
    if ((found & needed) != needed) {
        print_message("left out: the amx kernels need the avx512 tier, which this machine lacks\n");
        skip();
    }
    const amx_home home = amx_emulator_install();
    if (home == AMX_NOWHERE) {
        print_message("left out: tiles are neither permitted here nor can they be emulated\n");
        skip();
    }
    print_message("tiles are %s\n", home == AMX_PROCESSOR ? "the processor's" : "emulated");
    ki_tile_fill(found | KI_AMX_INT8, &table);
    assert_int_equal(table.width, KI_PANEL_MAX);
    static const data_kind kinds[] = {DATA_NORMAL, DATA_CLUSTERED, DATA_WHOLE, DATA_EQUAL, DATA_OUTLIER,
                                      DATA_HUGE,   DATA_SCALES,    DATA_TIES,  DATA_FAR};
    static const size_t dims[] = {3, 64, 100, 130};
    const uint64_t before = amx_emulator_instructions();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        for (kith_metric metric = KITH_L2SQ; metric <= KITH_COSINE; metric++)
            compare(kinds[i], metric, 16 * (20 + i) + i, dims[(i + (size_t)metric) % 4]);
    compare(DATA_CLUSTERED, KITH_IP, 12000, 96);
    if (home == AMX_EMULATED) assert_true(amx_emulator_instructions() > before + 10000);
}

int main(void) {
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof(path), "%s/kith-amx-%ld.kith", folder ? folder : "/tmp", (long)getpid());
    const struct CMUnitTest tests[] = {cmocka_unit_test(same_bits_as_the_plain_plan)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
