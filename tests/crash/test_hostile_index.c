/* SPDX-License-Identifier: Apache-2.0
 *
 * Index files of an author who means ill: numbers and bytes of good files are changed at random and all checksums made
 * right again. Each is refused, or opened, searched by every plan, read and verified: any answer is fine, a crash, a
 * read outside of the map (which the sanitizers see) and a result that is not of the contract's shape are not. And good
 * files that lose their end while they are searched. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "kernel/tile.h"
#include "support/amend.h"
#include "support/data.h"
#include "support/version1.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>

enum { KINDS = 10, BASES = 2 * KINDS, ROWS = 100, DIM = 64, K = 5, QUERIES = 3 };

static kith_error error;
static struct { test_bytes file; } base[BASES];
/* Of each kind a file of version 2 and, KINDS further on, the same of version 1. */
enum { LISTED = 7 }; /* the first base with lists */
static unsigned opened, refused_count, verified;

/* A base to change; its bytes are the caller's. */
static test_bytes copy_of(size_t b) {
    test_bytes copy = {malloc(base[b].file.bytes), base[b].file.bytes};
    assert_non_null(copy.data);
    memcpy(copy.data, base[b].file.data, copy.bytes);
    return copy;
}

/* ---- Trying a file ----------------------------------------------------------------------------------------------- */

static void touch(const char *text, size_t bytes) {
    static volatile unsigned char sum;
    for (size_t i = 0; i < bytes; i++) sum = (unsigned char)(sum + (unsigned char)text[i]);
}

static void try_lookups(const kith_index *index, const kith_index_info *info, ki_rng *rng) {
    static float vector[KITH_DIM_MAX];
    for (int i = 0; i < 12; i++) {
        const uint64_t id = i == 0 ? UINT64_MAX : i % 2 ? ki_rng_below(rng, info->rows) : ki_rng_next(rng) >> 1;
        const char *text;
        size_t bytes;
        uint64_t found;
        (void)!kith_index_vector(index, id, vector, &error);
        if (kith_index_name(index, id, &text, &bytes) == KITH_OK) touch(text, bytes);
        if (kith_index_string_id(index, id, &text, &bytes) == KITH_OK) {
            touch(text, bytes);
            (void)!kith_index_lookup(index, text, bytes, &found);
        }
        (void)!kith_index_lookup(index, "item 5", 6, &found);
    }
}

/* Distances ascend, ids that are not there are marked on both sides. */
static void check_shape(const uint64_t *ids, const float *distances) {
    for (size_t i = 0; i < K; i++) {
        if (isnan(distances[i])) fail_msg("a NaN among the results");
        if (i && distances[i] < distances[i - 1]) fail_msg("results do not ascend");
        if (i && ids[i - 1] == KITH_ID_NONE && distances[i - 1] == INFINITY && ids[i] != KITH_ID_NONE)
            fail_msg("a result behind the last one");
    }
}

static void try_searches(const kith_index *index, const kith_index_info *info, ki_rng *rng) {
    enum { BYTES = 1 << 16 };
    static float query[QUERIES * BYTES / sizeof(float)];
    uint64_t ids[QUERIES * K], allowed[20];
    float distances[QUERIES * K];
    kith_scratch *scratch = NULL;
    kith_filter *filter = NULL;
    kith_ranges ranges;
    kith_queries queries = KITH_QUERIES_INIT;
    if (kith_row_bytes(KITH_F32, info->dim) > BYTES) return;
    for (size_t i = 0; i < QUERIES * info->dim; i++) query[i] = (float)((int)ki_rng_below(rng, 41) - 20) / 4;
    queries.data = query;
    queries.dtype = info->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = QUERIES;
    queries.dim = info->dim;
    for (size_t i = 0; i < 20; i++) allowed[i] = ki_rng_below(rng, info->rows);
    assert_int_equal(kith_scratch_create(index, NULL, &scratch, &error), KITH_OK);
    assert_int_equal(kith_filter_create(index, allowed, 20, NULL, &filter, &error), KITH_OK);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_IVF; plan++)
        for (int filtered = 0; filtered < 2; filtered++) {
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = (kith_plan)plan;
            options.filter = filtered ? filter : NULL;
            options.nprobe = 1 + ki_rng_below(rng, 4);
            options.code = *info->second_code && filtered ? KITH_SCAN_SECOND : KITH_SCAN_AUTO;
            if (plan == KITH_PLAN_IVF && info->first_level_dim && ki_rng_below(rng, 2)) options.code = KITH_SCAN_FIRST;
            if (plan == KITH_PLAN_IVF && ki_rng_below(rng, 4) == 0) options.code = KITH_SCAN_ROWS;
            if (kith_search(index, &queries, K, &options, scratch, ids, distances, &error) == KITH_OK)
                for (size_t i = 0; i < queries.count; i++) check_shape(ids + i * K, distances + i * K);
            (void)!kith_search_range(index, &queries, 20, &options, scratch, &ranges, &error);
            queries.count = filtered ? QUERIES : 1;
        }
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
}

static void try_file(const test_bytes *file, ki_rng *rng) {
    const char *path = test_path("hostile.kith");
    kith_index *index = NULL;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    error = (kith_error){KITH_OK, ""};
    test_write(path, file->data, file->bytes);
    const kith_status status = kith_index_open(path, NULL, &index, &error);
    if (status != KITH_OK) {
        if (status != KITH_E_CORRUPT && status != KITH_E_VERSION && status != KITH_E_LIMIT)
            fail_msg("status %d: %s", (int)status, error.text);
        if (!strstr(error.text, "hostile.kith")) fail_msg("'%s' names no file", error.text);
        refused_count++;
        return;
    }
    opened++;
    kith_index_get_info(index, &info);
    try_lookups(index, &info, rng);
    try_searches(index, &info, rng);
    kith_index_close(index);
    const kith_status checked = kith_index_verify(path, NULL, NULL, NULL, &error);
    if (checked != KITH_OK && checked != KITH_E_CORRUPT) fail_msg("status %d: %s", (int)checked, error.text);
    verified += checked == KITH_OK;
}

/* ---- Changing files ---------------------------------------------------------------------------------------------- */

static uint32_t strange_word(ki_rng *rng) {
    static const uint32_t words[] = {0,          1,          2,          15,         16,         17,         63,
                                     64,         127,        128,        255,        256,        0x7fffffff, 0x80000000,
                                     0xffffffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0x00000001, 0x3f800000,
                                     0x5f000000, 0xdf000000, 0x43000000, 100,        99,         101};
    const size_t count = sizeof(words) / sizeof(*words);
    return ki_rng_below(rng, 4) ? words[ki_rng_below(rng, count)] : (uint32_t)ki_rng_next(rng);
}

/* A number that opening believes: of the header, of the section table, or of a section's head. */
static void change_header(test_bytes file, ki_rng *rng) {
    const ki_header *header = test_header_a(file);
    const int version1 = header->format_version == 1;
    const size_t table = version1 ? KI_SECTION_TABLE_VERSION1 : KI_HEADER_BYTES;
    const size_t entry = version1 ? sizeof(ki_section_entry_version1) : sizeof(ki_section_entry);
    size_t at = ki_rng_below(rng, 65) * 4 + 8;
    if (ki_rng_below(rng, 3) == 0) {
        at = table + ki_rng_below(rng, header->section_count * entry / 4) * 4;
        if (!version1 && ki_rng_below(rng, 2)) {
            ki_layout layout = test_layout(file);
            const ki_section_entry *section = &layout.section[ki_rng_below(rng, layout.sections)];
            at = section->offset + ki_rng_below(rng, section->head_bytes / 4) * 4;
            ki_layout_free(&layout);
        }
    }
    const uint32_t word = strange_word(rng);
    memcpy(file.data + at, &word, sizeof(word));
}

/* Some part of a file, no head. */
static ki_part random_part(test_bytes file, ki_rng *rng) {
    ki_layout layout = test_layout(file);
    size_t i;
    do i = ki_rng_below(rng, layout.parts);
    while (KI_PART_NUMBER(layout.part[i].id) == 0);
    const ki_part part = layout.part[i];
    ki_layout_free(&layout);
    return part;
}

/* Some words or bytes of one part. */
static void change_section(test_bytes file, ki_rng *rng) {
    const ki_part part = random_part(file, rng);
    const size_t changes = 1 + ki_rng_below(rng, 8);
    if (part.bytes < 8) return;
    for (size_t i = 0; i < changes; i++) {
        const size_t at = part.offset + ki_rng_below(rng, part.bytes / 4) * 4;
        const uint32_t word = strange_word(rng);
        if (ki_rng_below(rng, 3))
            memcpy(file.data + at, &word, sizeof(word));
        else
            file.data[at] = (unsigned char)word;
    }
}

/* A whole part filled with one strange word. */
static void fill_section(test_bytes file, ki_rng *rng) {
    const ki_part part = random_part(file, rng);
    const uint32_t word = strange_word(rng);
    for (uint64_t at = 0; at + 4 <= part.bytes; at += 4) memcpy(file.data + part.offset + at, &word, sizeof(word));
}

static void test_changed_and_sealed_again(void **state) {
    enum { ROUNDS = 600 };
    ki_rng rng = {2024};
    (void)state;
    for (size_t b = 0; b < BASES; b++)
        for (int round = 0; round < ROUNDS; round++) {
            test_bytes copy = copy_of(b);
            const uint64_t kind = ki_rng_below(&rng, 8);
            if (kind >= 2 && kind < 7) change_section(copy, &rng);
            if (kind == 7) fill_section(copy, &rng);
            if (kind < 3) change_header(copy, &rng);
            test_reseal(copy);
            try_file(&copy, &rng);
            free(copy.data);
        }
    print_message("%u files: %u refused, %u opened, %u of these verified\n", refused_count + opened, refused_count,
                  opened, verified);
    assert_true(refused_count > 100 && opened > 1000 && verified < opened);
}

/* Sections of the right sizes for other counts: what a consistent liar would write. */
static void test_other_dimensions_in_the_same_bytes(void **state) {
    ki_rng rng = {7};
    (void)state;
    for (size_t b = 0; b < BASES; b++)
        for (uint32_t dtype = 0; dtype <= 7; dtype++)
            for (uint32_t metric = 0; metric <= 6; metric++)
                for (unsigned shift = 0; shift < 3; shift++) {
                    test_bytes copy = copy_of(b);
                    ki_header *header = test_header_a(copy);
                    header->dtype = dtype;
                    header->metric = metric;
                    header->dim = shift ? header->dim * shift * 2 : header->dim;
                    test_reseal(copy);
                    try_file(&copy, &rng);
                    free(copy.data);
                }
}

/* Meaning that checksums cannot see is what verify must still find. */
static void test_verify_finds_wrong_meaning(void **state) {
    static const struct {
        size_t base;
        uint32_t kind;
        uint32_t word; /* at the section's start */
        const char *name;
    } cases[] = {{0, KI_PART_IDS, 0xfffffff0, "section 'ids', part 'ids'"},
                 {0, KI_PART_ID_ORDER, ROWS, "section 'ids', part 'order'"},
                 {0, KI_PART_ID_ORDER, 1, "section 'ids', part 'order'"},
                 {0, KI_PART_CENTROIDS, 0x7fc00000, "section 'lists', part 'centroids'"},
                 {0, KI_PART_FACTORS, 0x7f800000, "section 'codes', part 'factors'"},
                 {0, KI_PART_ORIGINALS, 0x7f800000, "section 'originals', part 'rows'"},
                 {0, KI_PART_LEVEL1_BASIS, 0xff800000, "section 'first_level', part 'basis'"},
                 {0, KI_PART_LEVEL1_FACTORS, 0x7fc00000, "section 'first_level', part 'factors'"},
                 {0, KI_PART_LISTS, 7, "section 'lists', part 'table'"},
                 {1, KI_PART_STRING_ENDS, 0, "section 'strings', part 'ends'"},
                 {1, KI_PART_STRING_ORDER, ROWS, "section 'strings', part 'order'"},
                 {1, KI_PART_STRING_ORDER, 1, "section 'strings', part 'order'"},
                 {1, KI_PART_NAME_ENDS, 0x00ffffff, "section 'names', part 'ends'"},
                 {1, KI_PART_NORMS2, 0x7f800000, "section 'originals', part 'norms2'"},
                 {1, KI_PART_NORMS2, 0x3f800001, "section 'originals', part 'norms2'"},
                 {1, KI_PART_INVERSE_NORMS, 0x7f800000, "section 'originals', part 'inverse_norms'"},
                 {LISTED, KI_PART_LISTS, 7, "section 'lists', part 'table'"},
                 {LISTED, KI_PART_CENTROIDS, 0x7fc00000, "section 'lists', part 'centroids'"},
                 {LISTED, KI_PART_LIST_BOUNDS, 0x7fc00000, "section 'lists', part 'bounds'"},
                 {LISTED, KI_PART_LIST_BOUNDS, 0, "section 'lists', part 'bounds'"},
                 {LISTED, KI_PART_LIST_BOUNDS, 0xbf800000, "section 'lists', part 'bounds'"},
                 {LISTED, KI_PART_COARSE_FACTORS, 0x7f800000, "section 'lists', part 'factors'"},
                 {LISTED, KI_PART_SECOND_MODEL, 0, "section 'second_code', part 'model'"},
                 {LISTED, KI_PART_SECOND_FACTORS, 0x7fc00000, "section 'second_code', part 'factors'"}};
    (void)state;
    const size_t count = sizeof(cases) / sizeof(*cases);
    size_t absent = 0; /* each version has one kind of norms */
    for (size_t both = 0; both < 2 * count; both++) {
        const size_t i = both % count;
        test_bytes copy = copy_of(cases[i].base + both / count * KINDS);
        const size_t at = test_find(copy, cases[i].kind, NULL);
        if (!at) {
            free(copy.data);
            absent++;
            continue;
        }
        memcpy(copy.data + at, &cases[i].word, sizeof(cases[i].word));
        test_reseal(copy);
        const char *path = test_path("meaning.kith");
        test_write(path, copy.data, copy.bytes);
        free(copy.data);
        error = (kith_error){KITH_OK, ""};
        const kith_status status = kith_index_verify(path, NULL, NULL, NULL, &error);
        if (status != KITH_E_CORRUPT) fail_msg("%s, word %08x: status %d", cases[i].name, cases[i].word, (int)status);
        if (!strstr(error.text, cases[i].name)) fail_msg("'%s' does not name %s", error.text, cases[i].name);
    }
    assert_int_equal(absent, 3);
}

/* Tables of lists that opening must refuse, each number of which is believed by searches: overflows, gaps, wrong
 * sums. */
static void test_hostile_lists(void **state) {
    enum { LISTS = 12 };
    static const struct {
        size_t word; /* of the table of lists */
        uint64_t value;
    } cases[] = {{0, 1},           {0, UINT64_MAX}, {1, 0},           {1, ROWS},       {1, UINT64_MAX},
                 {1, UINT32_MAX},  {1, ROWS + 1},   {2, 0},           {2, UINT64_MAX}, {3, UINT64_MAX - 5},
                 {3, 1ull << 32},  {22, ROWS},      {23, UINT64_MAX}, {23, 0},         {23, ROWS},
                 {23, 1ull << 63}, {22, 1ull << 32}};
    (void)state;
    const size_t count = sizeof(cases) / sizeof(*cases) + 6;
    for (size_t both = 0; both < 2 * count; both++) {
        const size_t i = both % count;
        test_bytes copy = copy_of(LISTED + both / count * KINDS);
        ki_header *header = test_header_a(copy);
        const size_t extra = i - sizeof(cases) / sizeof(*cases);
        assert_int_equal(header->lists, LISTS);
        if (extra >= 6)
            memcpy(copy.data + test_find(copy, KI_PART_LISTS, NULL) + 8 * cases[i].word, &cases[i].value, 8);
        if (extra == 0) header->lists = 0;
        if (extra == 1) header->lists = LISTS - 1;
        if (extra == 2) header->lists = UINT32_MAX;
        if (extra == 3) header->feature_incompat = 0;
        if (extra == 4) header->parameter[1] = (double)NAN;
        if (extra == 5) header->parameter[2] = -1;
        test_reseal(copy);
        test_write(test_path("lists.kith"), copy.data, copy.bytes);
        free(copy.data);
        kith_index *index = NULL;
        const kith_status status = kith_index_open(test_path("lists.kith"), NULL, &index, &error);
        if (status != KITH_E_CORRUPT) fail_msg("case %zu: status %d", i, (int)status);
        assert_non_null(strstr(error.text, "lists.kith"));
        assert_null(index);
    }
}

/* One of the four factors of every vector, or those behind the last list, set to what no vector could have made. Such
 * scores are infinite, or no numbers, and reach any threshold: also those of a panel's empty places. */
static void test_hostile_factors(void **state) {
    static const uint32_t kinds[] = {KI_PART_COARSE_FACTORS, KI_PART_FACTORS, KI_PART_SECOND_FACTORS,
                                     KI_PART_LEVEL1_FACTORS};
    static const uint32_t words[] = {0x7f800000, 0xff800000, 0x7fc00000, 0x7f7fffff, 0xff7fffff, 0};
    ki_rng rng = {77};
    const unsigned before = opened;
    (void)state;
    for (size_t b = 0; b < BASES; b++)
        for (size_t kind = 0; kind < 4; kind++)
            for (size_t word = 0; word < sizeof(words) / sizeof(*words); word++)
                for (size_t factor = 0; factor < 5; factor++) { /* 4: the bias of vectors that are not there */
                    test_bytes copy = copy_of(b);
                    uint64_t bytes = 0;
                    unsigned char *part = copy.data + test_find(copy, kinds[kind], &bytes);
                    for (uint64_t i = 0; i < bytes / 4; i++) {
                        float now;
                        memcpy(&now, part + 4 * i, sizeof(now));
                        if (factor == 4 ? now == -FLT_MAX : i / KI_BLOCK % 4 == factor)
                            memcpy(part + 4 * i, &words[word], 4);
                    }
                    test_reseal(copy);
                    try_file(&copy, &rng);
                    free(copy.data);
                }
    assert_true(opened - before == BASES * 4 * 6 * 5);
}

/* Supers that divide the lists wrongly: a small table put into the file. */
static void test_hostile_supers(void **state) {
    static const uint32_t tables[][16] = {{0, 0, 0, 0},   {1, 11, 0, 0},         {1, 13, 0, 0},
                                          {2, 13, 12, 0}, {2, 5, 11, 0},         {3, 1, 2, 11},
                                          {13, 1, 2, 3},  {UINT32_MAX, 1, 2, 3}, {UINT32_MAX - 1, 12, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        const char *path = test_path("supers.kith");
        kith_index *index = NULL;
        test_write(path, base[LISTED].file.data, base[LISTED].file.bytes);
        assert_int_equal(amend_file(path, KI_PART_SUPERS, tables[i], 64, 1, &error), KITH_OK);
        for (int version = 2; version >= 1; version--) {
            if (version == 1) version1_convert(path, path);
            assert_int_equal(kith_index_open(path, NULL, &index, &error), KITH_E_CORRUPT);
            assert_non_null(strstr(error.text, "section 'lists', part 'supers'"));
        }
    }
}

/* Second lists that cannot be: opening refuses counts, verify finds entries, and searches survive those. */
static void test_hostile_second_lists(void **state) {
    static const struct {
        uint32_t kind, word, value;
        int opens;
    } edits[] = {{KI_PART_SECOND_LIST_COUNTS, 0, UINT32_MAX, 0},     {KI_PART_SECOND_LIST_COUNTS, 11, 0, 0},
                 {KI_PART_SECOND_LIST_COUNTS, 3, ROWS, 0},           {KI_PART_SECOND_LIST_ENTRIES, 0, ROWS, 1},
                 {KI_PART_SECOND_LIST_ENTRIES, 0, UINT32_MAX, 1},    {KI_PART_SECOND_LIST_ENTRIES, 1, 12, 1},
                 {KI_PART_SECOND_LIST_ENTRIES, 1, UINT32_MAX, 1},    {KI_PART_SECOND_LIST_ENTRIES, 1, 0, 1},
                 {KI_PART_SECOND_LIST_ENTRIES, 2, UINT32_MAX - 1, 1}};
    ki_rng rng = {5};
    (void)state;
    const size_t count = sizeof(edits) / sizeof(*edits);
    for (size_t both = 0; both < 2 * count; both++) {
        const size_t i = both % count;
        test_bytes copy = copy_of(LISTED + both / count * KINDS);
        uint64_t bytes = 0;
        const size_t at = test_find(copy, edits[i].kind, &bytes);
        assert_true(4 * (uint64_t)edits[i].word < bytes);
        ki_store_u32(copy.data + at + 4 * (size_t)edits[i].word, edits[i].value);
        test_reseal(copy);
        const unsigned before = opened;
        try_file(&copy, &rng);
        assert_int_equal(opened - before, edits[i].opens);
        const char *path = test_path("hostile.kith");
        assert_int_equal(kith_index_verify(path, NULL, NULL, NULL, &error), KITH_E_CORRUPT);
        if (!strstr(error.text, "section 'second_lists'")) fail_msg("edit %zu: %s", i, error.text);
        free(copy.data);
    }
}

/* ---- Truncation under searches ----------------------------------------------------------------------------------- */

struct searcher {
    kith_index *index;
    const float *queries;
    const uint64_t *right;
    atomic_int stop;
    atomic_uint rounds; /* finished */
    int wrong;
    unsigned right_answers, refusals;
};

static void *search_until_told(void *context) {
    struct searcher *me = context;
    kith_scratch *scratch = NULL;
    kith_error own;
    if (kith_scratch_create(me->index, NULL, &scratch, &own) != KITH_OK) me->wrong = 1;
    for (unsigned round = 0; !atomic_load(&me->stop) && !me->wrong; round++) {
        uint64_t ids[QUERIES * K];
        float distances[QUERIES * K];
        kith_queries queries = KITH_QUERIES_INIT;
        kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
        queries.data = me->queries;
        queries.dtype = KITH_F32;
        queries.count = QUERIES;
        queries.dim = DIM;
        options.plan = (kith_plan)(round % 4);
        const kith_status status = kith_search(me->index, &queries, K, &options, scratch, ids, distances, &own);
        if (status == KITH_OK) {
            me->right_answers++;
            me->wrong |= memcmp(ids, me->right, sizeof(ids)) != 0;
        } else {
            me->refusals++;
            me->wrong |= status != KITH_E_CORRUPT || !strstr(own.text, "shrinks.kith");
        }
        atomic_fetch_add(&me->rounds, 1);
    }
    kith_scratch_destroy(scratch);
    return NULL;
}

static void wait_for_rounds(struct searcher *searcher, unsigned more) {
    const unsigned until = atomic_load(&searcher->rounds) + more;
    for (int i = 0; i < 60000 && atomic_load(&searcher->rounds) < until; i++) usleep(1000);
    assert_true(atomic_load(&searcher->rounds) >= until);
}

static void test_truncation_under_searches(void **state) {
    enum { MANY = 3000, ROUNDS = 12 };
    (void)state;
    data_set set = data_make(DATA_CLUSTERED, KITH_F32, KITH_L2SQ, MANY, DIM, 5, 1);
    float *queries = data_queries(&set, DATA_CLUSTERED, KITH_F32, QUERIES, 6);
    uint64_t right[QUERIES * K];
    data_hit *hits = malloc(MANY * sizeof(*hits));
    const char *path = test_path("shrinks.kith");
    unsigned answers = 0, refusals = 0;
    assert_non_null(hits);
    for (size_t i = 0; i < QUERIES; i++) {
        data_reference(&set, queries + i * DIM, NULL, hits);
        for (size_t j = 0; j < K; j++) right[i * K + j] = hits[j].id;
    }
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.first_level = KITH_FIRST_LEVEL_ON;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        options.lists = round % 2 ? 40 : 1;
        data_build(&set, path, &options);
        struct searcher searcher = {.index = data_open(path), .queries = queries, .right = right};
        kith_index_info info = KITH_INDEX_INFO_INIT;
        pthread_t thread;
        kith_index_get_info(searcher.index, &info);
        assert_int_equal(pthread_create(&thread, NULL, search_until_told, &searcher), 0);
        wait_for_rounds(&searcher, 2);
        usleep((unsigned)(round * 131 % 700)); /* anywhere in the next one */
        /* From losing the last byte to losing all. */
        assert_int_equal(truncate(path, (off_t)(info.file_bytes - 1 - (info.file_bytes - 1) * round / (ROUNDS - 1))),
                         0);
        wait_for_rounds(&searcher, 9); /* two of each plan, and the one that was under way */
        atomic_store(&searcher.stop, 1);
        pthread_join(thread, NULL);
        if (searcher.wrong) fail_msg("round %u: a wrong answer or error", (unsigned)round);
        answers += searcher.right_answers;
        refusals += searcher.refusals;
        kith_index_close(searcher.index);
    }
    print_message("%u right answers, %u refusals\n", answers, refusals);
    assert_true(answers >= 2 * ROUNDS && refusals >= 8 * ROUNDS);
    free(hits);
    free(queries);
    data_free(&set);
}

/* ------------------------------------------------------------------------------------------------------------------ */

static void build_strings(const char *path) {
    const char *source = test_path("strings.jsonl");
    FILE *file = fopen(source, "wb");
    assert_non_null(file);
    for (int i = 0; i < ROWS; i++)
        fprintf(file, "{\"id\":\"item %d\",\"vector\":[%d,%d,0.5,1,2],\"name\":\"%.*s\"}\n", i, i, i * i, i % 7,
                "a name");
    assert_int_equal(fclose(file), 0);
    kith_reader *reader = NULL;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    options.metric = KITH_COSINE;
    assert_int_equal(kith_reader_open(source, NULL, &reader, &error), KITH_OK);
    assert_int_equal(kith_build(reader, path, &options, NULL, &error), KITH_OK);
    kith_reader_close(reader);
}

static int set_up(void **state) {
    static const struct {
        data_kind kind;
        kith_metric metric;
        kith_dtype dtype;
        size_t dim;
        kith_originals originals;
        size_t lists;
        const char *code;
    } make[KINDS] = {{DATA_NORMAL, KITH_L2SQ, KITH_F32, DIM, KITH_ORIGINALS_KEEP, 1, NULL},
                     {DATA_NORMAL, KITH_COSINE, KITH_F32, 5, KITH_ORIGINALS_KEEP, 1, NULL}, /* strings */
                     {DATA_WHOLE, KITH_L2SQ, KITH_U8, 66, KITH_ORIGINALS_KEEP, 1, NULL},
                     {DATA_NORMAL, KITH_COSINE, KITH_F16, 70, KITH_ORIGINALS_KEEP, 1, NULL},
                     {DATA_NORMAL, KITH_IP, KITH_F32, 65, KITH_ORIGINALS_NONE, 1, NULL},
                     {DATA_NORMAL, KITH_JACCARD, KITH_B1, 72, KITH_ORIGINALS_KEEP, 1, NULL},
                     {DATA_NORMAL, KITH_IP, KITH_BF16, 3, KITH_ORIGINALS_KEEP, 1, NULL},
                     {DATA_NORMAL, KITH_L2SQ, KITH_F32, DIM, KITH_ORIGINALS_KEEP, 12, "pq:16x4"},
                     {DATA_WHOLE, KITH_IP, KITH_U8, 66, KITH_ORIGINALS_KEEP, 40, NULL},
                     {DATA_CLUSTERED, KITH_COSINE, KITH_F16, 70, KITH_ORIGINALS_NONE, 5, "rabitq:3"}};
    if (test_folder_make(state) != 0) return -1;
    for (size_t b = 0; b < KINDS; b++) {
        const char *path = test_path("base.kith");
        kith_build_options options = KITH_BUILD_OPTIONS_INIT;
        options.first_level = KITH_FIRST_LEVEL_ON;
        options.originals = make[b].originals;
        options.lists = make[b].lists;
        options.no_calibration = 1; /* the same bytes on every run */
        options.code = make[b].code;
        data_set set = data_make(make[b].kind, make[b].dtype, make[b].metric, ROWS, make[b].dim, b, 0);
        if (b == 1)
            build_strings(path);
        else
            data_build(&set, path, &options);
        base[b].file = test_read(path);
        version1_convert(path, path);
        base[b + KINDS].file = test_read(path);
        data_free(&set);
    }
    return 0;
}

static int tear_down(void **state) {
    for (size_t b = 0; b < BASES; b++) free(base[b].file.data);
    return test_folder_remove(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changed_and_sealed_again),
        cmocka_unit_test(test_other_dimensions_in_the_same_bytes),
        cmocka_unit_test(test_verify_finds_wrong_meaning),
        cmocka_unit_test(test_hostile_lists),
        cmocka_unit_test(test_hostile_factors),
        cmocka_unit_test(test_hostile_supers),
        cmocka_unit_test(test_hostile_second_lists),
        cmocka_unit_test(test_truncation_under_searches),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
