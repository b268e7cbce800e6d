/* SPDX-License-Identifier: Apache-2.0
 *
 * Generations: begun beside the current one, filled, checked, tried with some users, made current and current again,
 * dropped; what is refused, and that nothing changes then; what another process sees, and the next opening. Item i has
 * vectors of equal elements: i in generation 1, and in a later one g the value of place (i * 7 + g) % ITEMS, so that
 * one answer tells whose it is.
 *
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state/collection.h"
#include "state/generations.h"
#include "support/shop.h"

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>

enum { ITEMS = 30, WIDE = 6, DIM_MOST = 16 };

static float value_of(uint32_t generation, uint64_t id) {
    return (float)(generation == 1 ? id : (id * 7 + generation) % ITEMS);
}

static uint64_t nearest_of(uint32_t generation, float value) {
    for (uint64_t id = 0; id < ITEMS; id++)
        if (value_of(generation, id) == value) return id;
    return KITH_ID_NONE;
}

/* Write the vectors that a generation has of items first..first + count. */
static kith_status fill(kith_collection *c, uint32_t generation, size_t dim, uint64_t first, size_t count,
                        kith_write_mode mode) {
    static float rows[ITEMS * DIM_MOST];
    uint64_t ids[ITEMS];
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

static kith_status begin_of(kith_collection *c, size_t dim, const char *model, uint32_t *number) {
    const kith_vector_spec spec = {.name = "", .dim = dim};
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    options.model = model;
    options.vectors = &spec, options.vector_count = 1;
    return kith_collection_generation_begin(c, &options, number, &error);
}

/* Who asks what; {0}: nobody in particular. */
struct asked {
    uint32_t generation;
    const char *user, *model;
};

/* The item nearest to a vector of equal elements, and the generation that was asked. */
static kith_status ask_with(kith_collection *c, struct asked by, size_t dim, float value, uint64_t *id,
                            uint32_t *generation) {
    float row[DIM_MOST];
    for (size_t d = 0; d < dim; d++) row[d] = value;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = row, queries.dtype = KITH_F32, queries.count = 1, queries.dim = dim;
    const kith_leg leg = {.queries = &queries};
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits hits = KITH_HITS_INIT;
    kith_result *result = NULL;
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg, ask.leg_count = 1, ask.k = 3, ask.report = &report;
    ask.generation = by.generation, ask.user = by.user, ask.model = by.model;
    must(kith_result_create(&result, &error));
    const kith_status status = kith_collection_search(c, &ask, result, &error);
    if (status == KITH_OK) {
        must(kith_result_hits(result, &hits));
        *id = hits.count ? hits.ids[0] : KITH_ID_NONE;
        *generation = report.generation;
    }
    kith_result_destroy(result);
    return status;
}

/* All items are found where a generation has them. */
static void answers(kith_collection *c, struct asked by, uint32_t generation, size_t dim) {
    for (int value = 0; value < ITEMS; value += 3) {
        uint64_t id;
        uint32_t asked;
        must(ask_with(c, by, dim, (float)value, &id, &asked));
        assert_int_equal(asked, generation);
        assert_int_equal(id, nearest_of(generation, (float)value));
    }
}

static kith_generation_info info_of(kith_collection *c, uint32_t number) {
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    for (size_t place = 0; kith_collection_generation(c, place, &info, NULL) == KITH_OK; place++)
        if (info.number == number) return info;
    fail_msg("there is no generation %u", (unsigned)number);
    return info;
}

static uint32_t current_of(kith_collection *c) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(c, &info));
    return info.generation;
}

/* A full shop of generation 1. */
static kith_collection *shop_at(const char *path) {
    kith_collection *c = make_at(path, KITH_ID_U64);
    must(fill(c, 1, DIM, 0, ITEMS, KITH_UPSERT));
    return c;
}

static void compact(kith_collection *c) {
    must(kith_collection_compact(c, NULL, NULL, &error));
}

/* Index files of a slot in all segments. */
static size_t files_of(const char *path, size_t slot) {
    char folder[600], name[900];
    size_t found = 0;
    snprintf(folder, sizeof(folder), "%s/segments", path);
    DIR *all = opendir(folder);
    assert_non_null(all);
    for (const struct dirent *entry; (entry = readdir(all));) {
        snprintf(name, sizeof(name), "%s/%s/vectors.%zu.kith", folder, entry->d_name, slot);
        found += access(name, F_OK) == 0;
    }
    closedir(all);
    return found;
}

/* ---- From one to the next, and back ------------------------------------------------------------------------------ */

/* seal: at which of the steps what is in memory becomes a segment. */
static void flip_and_back(unsigned seal) {
    char path[600];
    uint32_t two = 0;
    uint64_t id;
    kith_flip_report report = KITH_FLIP_REPORT_INIT;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *c = shop_at(path);
    if (seal & 1) compact(c);
    must(begin_of(c, WIDE, "m2", &two));
    assert_int_equal(two, 2);
    assert_int_equal(info_of(c, 2).state, KITH_GENERATION_BUILDING);
    assert_int_equal(info_of(c, 2).own, 1);
    assert_string_equal(info_of(c, 2).model, "m2");
    must(fill(c, 2, WIDE, 0, ITEMS / 2, KITH_UPDATE));
    if (seal & 2) compact(c);
    answers(c, (struct asked){0}, 1, DIM); /* beside it, nothing has changed */
    refused(kith_collection_flip(c, 2, NULL, NULL, &error), KITH_E_DATA, "share of the items");
    assert_int_equal(current_of(c), 1);
    must(fill(c, 2, WIDE, ITEMS / 2, ITEMS - ITEMS / 2, KITH_UPDATE));
    if (seal & 4) compact(c);
    answers(c, (struct asked){.generation = 2}, 2, WIDE);
    answers(c, (struct asked){.generation = 2, .model = "m2"}, 2, WIDE);
    must(kith_collection_flip(c, 2, NULL, &report, &error));
    assert_int_equal(report.from, 1);
    assert_int_equal(report.to, 2);
    assert_int_equal(report.with_vectors, ITEMS);
    assert_true(report.pause_ns > 0);
    answers(c, (struct asked){0}, 2, WIDE);
    answers(c, (struct asked){.generation = 1}, 1, DIM);
    refused(ask_with(c, (struct asked){0}, DIM, 1, &id, &two), KITH_E_ARG, "of generation 2 has 6");
    refused(ask_with(c, (struct asked){.model = "m1"}, WIDE, 1, &id, &two), KITH_E_ARG, "generation 2 are of \"m2\"");
    assert_int_equal(info_of(c, 1).state, KITH_GENERATION_PREVIOUS);
    kith_collection_close(c);
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
    c = open_at(path, 0);
    answers(c, (struct asked){0}, 2, WIDE);
    must(kith_collection_flip(c, 0, NULL, &report, &error));
    assert_int_equal(report.to, 1);
    answers(c, (struct asked){.model = "m1"}, 1, DIM);
    assert_int_equal(info_of(c, 2).state, KITH_GENERATION_PREVIOUS);
    must(kith_collection_flip(c, 0, NULL, NULL, &error)); /* and there again */
    answers(c, (struct asked){.generation = 1}, 1, DIM);
    answers(c, (struct asked){0}, 2, WIDE);
    compact(c);
    answers(c, (struct asked){.generation = 1}, 1, DIM);
    answers(c, (struct asked){0}, 2, WIDE);
    kith_collection_close(c);
}

static void test_flip_and_back(void **state) {
    (void)state;
    static const unsigned seals[] = {0, 1, 6, 7};
    for (size_t i = 0; i < sizeof(seals) / sizeof(*seals); i++) flip_and_back(seals[i]);
}

/* What is asked of it, reads give. */
/* Rows of one generation, and how long they are, of one read. */
static void test_reads_by_id(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    static const uint64_t some[] = {7, 99, 3};
    const kith_ids ids = {.count = 3, .ids = some};
    const uint32_t asked[] = {1, 2, 0};
    kith_vector_spec spec;
    kith_result *result = NULL;
    uint32_t two;
    must(kith_result_create(&result, &error));
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    for (size_t i = 0; i < 3; i++) {
        kith_hits hits = KITH_HITS_INIT;
        const uint32_t generation = asked[i] == 2 ? 2 : 1;
        const size_t dim = generation == 1 ? DIM : WIDE;
        must(kith_collection_generation_get(c, asked[i], &ids, KITH_WITH_VECTORS, result, &error));
        must(kith_collection_flip(c, 3 - generation, NULL, NULL, &error)); /* what was read stays what it was */
        must(kith_result_hits(result, &hits));
        must(kith_result_vector_spec(result, NULL, &spec));
        assert_int_equal(spec.dim, dim);
        assert_string_equal(spec.name, "");
        const float *rows = kith_result_vectors(result, "", NULL);
        assert_int_equal(hits.count, 2);
        assert_true(rows[dim - 1] == value_of(generation, 7) && rows[2 * dim - 1] == value_of(generation, 3));
        if (asked[i]) must(kith_collection_flip(c, 1, NULL, NULL, &error));
    }
    must(kith_result_vector_spec(result, "small", &spec));
    assert_string_equal(spec.name, "small");
    assert_int_equal(kith_result_vector_spec(result, "large", &spec), KITH_E_NOTFOUND);
    must(kith_collection_generation_get(c, 2, &ids, KITH_WITH_PAYLOAD, result, &error));
    assert_int_equal(kith_result_vector_spec(result, "", &spec), KITH_E_NOTFOUND);
    refused(kith_collection_generation_get(c, 9, &ids, 0, result, &error), KITH_E_NOTFOUND, "no generation 9");
    kith_result_destroy(result);
    kith_collection_close(c);
}

static void test_reads(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_vector_spec spec;
    kith_result *result = NULL;
    kith_hits hits = KITH_HITS_INIT;
    kith_scroll scroll = KITH_SCROLL_INIT;
    uint32_t two;
    const uint8_t *present;
    must(kith_result_create(&result, &error));
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, ITEMS - 1, KITH_UPDATE));
    kith_flip_options options = KITH_FLIP_OPTIONS_INIT;
    options.min_share = 0.9;
    must(kith_collection_flip(c, 2, &options, NULL, &error));
    must(kith_collection_get_info(c, &info));
    assert_string_equal(info.model, "m2");
    assert_int_equal(info.generation, 2);
    assert_int_equal(info.generations, 2);
    assert_int_equal(info.vectors, 2);
    must(kith_collection_vector(c, 0, &spec));
    assert_int_equal(spec.dim, WIDE);
    assert_int_equal(spec.metric, KITH_L2SQ);
    must(kith_collection_vector(c, 1, &spec));
    assert_string_equal(spec.name, "small");
    must(kith_collection_generation_vector(c, 1, 0, &spec, &error));
    assert_int_equal(spec.dim, DIM);
    must(kith_collection_generation_vector(c, 0, 0, &spec, &error));
    assert_int_equal(spec.dim, WIDE);
    refused(kith_collection_generation_vector(c, 3, 0, &spec, &error), KITH_E_NOTFOUND, "there is 1, 2");
    refused(kith_collection_generation_vector(c, 1, 2, &spec, &error), KITH_E_NOTFOUND, "2 vectors");
    for (uint32_t generation = 1; generation <= 2; generation++) {
        const size_t dim = generation == 1 ? DIM : WIDE;
        scroll.with = KITH_WITH_VECTORS;
        scroll.generation = generation == 1 ? 1 : 0;
        must(kith_collection_scroll(c, &scroll, result, &error));
        must(kith_result_hits(result, &hits));
        const float *rows = kith_result_vectors(result, "", &present);
        assert_int_equal(hits.count, ITEMS);
        for (size_t i = 0; i < ITEMS; i++) {
            assert_int_equal(present[i], generation == 1 || i < ITEMS - 1);
            assert_true(rows[i * dim + dim - 1] == (present[i] ? value_of(generation, i) : 0));
        }
    }
    scroll.generation = 9;
    refused(kith_collection_scroll(c, &scroll, result, &error), KITH_E_NOTFOUND, "no generation 9");
    kith_result_destroy(result);
    kith_collection_close(c);
}

/* Names that a generation was not begun with are those of the one before. */
static void test_shared_names(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    const float small[2] = {1, 2};
    const uint64_t id = 4;
    uint32_t two;
    must(begin_of(c, DIM, "m2", &two));
    kith_item_vectors vectors[] = {
        {.name = "small", .data = small, .dtype = KITH_F32, .dim = 2, .generation = 2},
        {.name = "small", .data = small, .dtype = KITH_F32, .dim = 2, .generation = 1},
    };
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = 1, .ids = &id};
    items.vectors = vectors, items.vector_count = 2;
    refused(kith_collection_write(c, &items, KITH_UPDATE, NULL, &error), KITH_E_ARG, "share it");
    items.vector_count = 1;
    must(kith_collection_write(c, &items, KITH_UPDATE, NULL, &error));
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = small, queries.dtype = KITH_F32, queries.count = 1, queries.dim = 2;
    const kith_leg leg = {.vector = "small", .queries = &queries};
    kith_result *result = NULL;
    must(kith_result_create(&result, &error));
    for (uint32_t generation = 0; generation <= 2; generation++) {
        kith_hits hits = KITH_HITS_INIT;
        kith_ask ask = KITH_ASK_INIT;
        ask.legs = &leg, ask.leg_count = 1, ask.generation = generation;
        must(kith_collection_search(c, &ask, result, &error));
        must(kith_result_hits(result, &hits));
        assert_int_equal(hits.count, 1);
        assert_int_equal(hits.ids[0], 4);
    }
    kith_result_destroy(result);
    kith_collection_close(c);
}

/* A replacement as a whole takes vectors of all generations away, an update keeps them. */
static void test_writes(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    kith_generation_report report = KITH_GENERATION_REPORT_INIT;
    uint32_t two;
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    must(put(c, 3, 3, "{\"color\": \"red\"}", KITH_MERGE, NULL));
    must(kith_collection_generation_check(c, 2, NULL, &report, &error));
    assert_int_equal(report.lacking, 0);
    must(put(c, 3, 3, NULL, KITH_UPSERT, NULL));
    must(kith_collection_generation_check(c, 2, NULL, &report, &error));
    assert_int_equal(report.lacking, 1);
    assert_int_equal(report.with_vectors, ITEMS - 1);
    refused(fill(c, 2, DIM, 0, 1, KITH_UPDATE), KITH_E_ARG, "generation 2");
    refused(fill(c, 7, DIM, 0, 1, KITH_UPDATE), KITH_E_NOTFOUND, "no generation 7");
    kith_collection_close(c);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static void test_refusals(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    kith_vector_spec spec[] = {{.name = "", .dim = 3}, {.name = "", .dim = 3}};
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    kith_flip_options flip = KITH_FLIP_OPTIONS_INIT;
    uint32_t number = 77;
    refused(kith_collection_generation_begin(c, &options, &number, &error), KITH_E_ARG, "at least one vector");
    options.vectors = spec, options.vector_count = 2;
    refused(kith_collection_generation_begin(c, &options, &number, &error), KITH_E_ARG, "given twice");
    spec[0].name = "large";
    refused(kith_collection_generation_begin(c, &options, &number, &error), KITH_E_NOTFOUND, "no vector \"large\"");
    spec[0] = (kith_vector_spec){.name = "", .dim = 0};
    refused(kith_collection_generation_begin(c, &options, &number, &error), KITH_E_ARG, "of 0 elements");
    options.vector_count = 1, spec[0].dim = 3, options.model = "\n";
    refused(kith_collection_generation_begin(c, &options, &number, &error), KITH_E_ARG, "the model");
    assert_int_equal(number, 77);
    refused(kith_collection_flip(c, 0, NULL, NULL, &error), KITH_E_NOTFOUND, "no generation was current before");
    refused(kith_collection_flip(c, 5, NULL, NULL, &error), KITH_E_NOTFOUND, "no generation 5");
    flip.min_recall = 1.5;
    refused(kith_collection_flip(c, 1, &flip, NULL, &error), KITH_E_ARG, "1.5");
    refused(kith_collection_generation_canary(c, 1, 0.5, &error), KITH_E_BUSY, "is current");
    refused(kith_collection_generation_canary(c, 5, 0.5, &error), KITH_E_NOTFOUND, "no generation 5");
    refused(kith_collection_generation_canary(c, 1, -0.5, &error), KITH_E_ARG, "-0.5");
    refused(kith_collection_generation_drop(c, 1, &error), KITH_E_BUSY, "is current");
    refused(kith_collection_generation_drop(c, 0, &error), KITH_E_BUSY, "generation 1 is current");
    refused(kith_collection_generation_drop(c, 5, &error), KITH_E_NOTFOUND, "no generation 5");
    must(kith_collection_flip(c, 1, NULL, NULL, &error)); /* it is current already */
    for (uint32_t n = 2; n <= KITH_GENERATIONS_MAX; n++) {
        must(begin_of(c, 3, "m", &number));
        assert_int_equal(number, n);
    }
    refused(begin_of(c, 3, "m", &number), KITH_E_LIMIT, "16 generations");
    must(kith_collection_generation_drop(c, 7, &error));
    must(begin_of(c, 3, "m", &number));
    assert_int_equal(number, 17); /* never used again */
    answers(c, (struct asked){0}, 1, DIM);
    kith_collection_close(c);
}

/* ---- Dropping ---------------------------------------------------------------------------------------------------- */

/* Slots are used again, by vectors of another dimension, and never show what was there before. */
static void test_drop_and_reuse(void **state) {
    (void)state;
    char path[600];
    uint32_t number = 0;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *c = shop_at(path);
    for (uint32_t n = 2; n <= 5; n++) {
        const size_t dim = 3 + n;
        must(begin_of(c, dim, "m", &number));
        assert_int_equal(number, n);
        must(fill(c, n, dim, 0, ITEMS / 2, KITH_UPDATE));
        if (n % 2) compact(c);
        must(fill(c, n, dim, ITEMS / 2, ITEMS - ITEMS / 2, KITH_UPDATE));
        answers(c, (struct asked){.generation = n}, n, dim);
        assert_int_equal(files_of(path, 2), n % 2);
        must(kith_collection_generation_drop(c, n, &error));
        assert_int_equal(files_of(path, 2), 0);
        assert_int_equal(ki_collection_generations(c)->slots, 3);
        assert_int_equal(ki_generations_leaving(ki_collection_generations(c)), 0);
        answers(c, (struct asked){0}, 1, DIM);
        if (n % 2 == 0) {
            kith_collection_close(c);
            must(kith_collection_verify(path, NULL, NULL, NULL, &error));
            c = open_at(path, 0);
        }
    }
    kith_collection_close(c);
}

/* The first one can go too, and is not missed. */
static void test_drop_the_first(void **state) {
    (void)state;
    char path[600];
    uint32_t two;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *c = shop_at(path);
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    compact(c);
    must(kith_collection_flip(c, 2, NULL, NULL, &error));
    must(kith_collection_generation_drop(c, 1, &error));
    refused(kith_collection_flip(c, 0, NULL, NULL, &error), KITH_E_NOTFOUND, "dropped");
    assert_int_equal(files_of(path, 0), 0);
    answers(c, (struct asked){0}, 2, WIDE);
    must(fill(c, 0, WIDE, 0, 1, KITH_UPDATE)); /* of the current one, whichever that is */
    kith_collection_close(c);
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
    c = open_at(path, 0);
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    must(kith_collection_get_info(c, &info));
    assert_int_equal(info.generations, 1);
    assert_string_equal(info.model, "m2");
    assert_int_equal(info.items, ITEMS);
    kith_collection_close(c);
}

/* 64 slots: room is made when it is needed. */
static void test_room_is_made(void **state) {
    (void)state;
    enum { NAMES = 30 };
    static char names[NAMES][8];
    kith_vector_spec spec[NAMES];
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_generation_options more = KITH_GENERATION_OPTIONS_INIT;
    kith_collection *c = NULL;
    uint32_t number;
    for (size_t i = 0; i < NAMES; i++) {
        snprintf(names[i], sizeof(names[i]), "v%zu", i);
        spec[i] = (kith_vector_spec){.name = names[i], .dim = 2};
    }
    made.vectors = spec, made.vector_count = NAMES;
    options.threads = 1;
    must(kith_collection_open_memory(&made, &options, &c, &error));
    more.vectors = spec, more.vector_count = NAMES;
    must(kith_collection_generation_begin(c, &more, &number, &error));
    refused(kith_collection_generation_begin(c, &more, &number, &error), KITH_E_LIMIT, "64 vectors");
    for (int again = 0; again < 4; again++) { /* the background may be slower than we are */
        must(kith_collection_generation_drop(c, number, &error));
        must(kith_collection_generation_begin(c, &more, &number, &error));
    }
    kith_collection_close(c);
}

/* In memory alone files have no names: segments are made anew. */
static void test_in_memory(void **state) {
    (void)state;
    const kith_collection_options made = options_of(KITH_ID_U64);
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection *c = NULL;
    uint32_t two;
    options.no_background = 1, options.threads = 1, options.cache_bytes = 1 << 20;
    must(kith_collection_open_memory(&made, &options, &c, &error));
    must(fill(c, 1, DIM, 0, ITEMS, KITH_UPSERT));
    for (int round = 0; round < 3; round++) {
        answers(c, (struct asked){0}, 1, DIM);
        must(begin_of(c, DIM, "m2", &two));
        must(fill(c, two, DIM, 0, ITEMS, KITH_UPDATE));
        compact(c);
        must(kith_collection_flip(c, two, NULL, NULL, &error));
        answers(c, (struct asked){0}, two, DIM); /* also of answers that are kept */
        answers(c, (struct asked){0}, two, DIM);
        must(kith_collection_flip(c, 0, NULL, NULL, &error));
        answers(c, (struct asked){0}, 1, DIM);
        must(kith_collection_generation_drop(c, two, &error));
    }
    kith_collection_close(c);
}

/* ---- Users ------------------------------------------------------------------------------------------------------- */

static void test_canary(void **state) {
    (void)state;
    enum { USERS = 10000 };
    static unsigned char goes[USERS];
    const double shares[] = {0.01, 0.1, 0.25, 0.5, 1};
    kith_collection *c = shop_at(fresh());
    uint32_t two, three, number;
    char user[32];
    must(begin_of(c, WIDE, "m2", &two));
    must(begin_of(c, WIDE, "m3", &three));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    memset(goes, 0, sizeof(goes));
    for (size_t s = 0; s < sizeof(shares) / sizeof(*shares); s++) {
        size_t canaries = 0;
        must(kith_collection_generation_canary(c, 2, shares[s], &error));
        assert_true(info_of(c, 2).share == shares[s]);
        for (size_t u = 0; u < USERS; u++) {
            snprintf(user, sizeof(user), "user-%zu", u);
            must(kith_collection_generation_of(c, user, &number, &error));
            if (goes[u]) assert_int_equal(number, 2); /* who was there stays */
            goes[u] = number == 2;
            canaries += goes[u];
        }
        const double off = (double)canaries / USERS - shares[s]; /* 4 standard deviations at most */
        if (!(off * off * USERS <= 16 * shares[s] * (1 - shares[s]))) fail_msg("%zu for %g", canaries, shares[s]);
    }
    refused(kith_collection_generation_canary(c, 3, 0.1, &error), KITH_E_BUSY, "generation 2 gets a share");
    must(kith_collection_generation_canary(c, 2, 0.5, &error));
    for (size_t u = 0; u < 20; u++) {
        snprintf(user, sizeof(user), "user-%zu", u);
        must(kith_collection_generation_of(c, user, &number, &error));
        answers(c, (struct asked){.user = user}, number, number == 2 ? WIDE : DIM);
        answers(c, (struct asked){.user = user, .generation = 1}, 1, DIM);
    }
    answers(c, (struct asked){0}, 1, DIM);
    must(kith_collection_flip(c, 2, NULL, NULL, &error));
    assert_true(info_of(c, 2).share == 0);
    must(kith_collection_generation_canary(c, 3, 1, &error));
    must(kith_collection_generation_of(c, "", &number, &error));
    assert_int_equal(number, 3);
    must(kith_collection_generation_canary(c, 3, 0, &error));
    must(kith_collection_generation_of(c, "", &number, &error));
    assert_int_equal(number, 2);
    must(kith_collection_generation_canary(c, 3, 1, &error));
    must(kith_collection_generation_drop(c, 3, &error));
    must(kith_collection_generation_of(c, "", &number, &error));
    assert_int_equal(number, 2);
    kith_collection_close(c);
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

struct lacking {
    uint64_t ids[ITEMS];
    size_t count;
};

static void note_lacking(void *context, uint64_t id, const char *text, size_t text_bytes, const char *vector) {
    struct lacking *lacking = context;
    assert_int_equal(text_bytes, 0);
    (void)text;
    assert_string_equal(vector, "");
    assert_true(lacking->count < ITEMS);
    lacking->ids[lacking->count++] = id;
}

static int stop(void *context, const kith_progress *progress) {
    return strcmp(progress->stage, context) == 0;
}

static void test_check(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    kith_generation_check_options options = KITH_GENERATION_CHECK_OPTIONS_INIT;
    kith_generation_report report = KITH_GENERATION_REPORT_INIT, again = KITH_GENERATION_REPORT_INIT;
    struct lacking lacking = {.count = 0};
    uint32_t two;
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, 10, KITH_UPDATE));
    compact(c);
    must(fill(c, 2, WIDE, 10, 10, KITH_UPDATE));
    options.lacking = note_lacking, options.lacking_context = &lacking;
    options.sample = 1000, options.k = 5;
    must(kith_collection_generation_check(c, 2, &options, &report, &error));
    assert_int_equal(report.number, 2);
    assert_int_equal(report.current, 1);
    assert_int_equal(report.items, ITEMS);
    assert_int_equal(report.with_vectors, 20);
    assert_int_equal(report.lacking, 10);
    assert_int_equal(report.sampled, 20);
    assert_int_equal(lacking.count, 10);
    for (size_t i = 0; i < 10; i++) assert_true(lacking.ids[i] >= 20);
    assert_true(report.recall == 1); /* so few are searched exactly */
    assert_true(report.overlap > 0 && report.overlap < 0.7);
    must(kith_collection_generation_check(c, 2, &options, &again, &error));
    assert_true(again.overlap == report.overlap);
    must(kith_collection_generation_check(c, 1, NULL, &report, &error));
    assert_int_equal(report.sampled, 0); /* nothing of it differs from the current one */
    assert_int_equal(report.with_vectors, ITEMS);
    options.k = 0;
    refused(kith_collection_generation_check(c, 2, &options, &report, &error), KITH_E_ARG, "k is 0");
    options.k = 5, options.target_recall = 2;
    refused(kith_collection_generation_check(c, 2, &options, &report, &error), KITH_E_ARG, "target_recall");
    options.target_recall = 0.9;
    refused(kith_collection_generation_check(c, 9, &options, &report, &error), KITH_E_NOTFOUND, "no generation 9");
    options.progress = stop, options.progress_context = (void *)"counting";
    refused(kith_collection_generation_check(c, 2, &options, &report, &error), KITH_E_CANCELLED, "cancelled");
    options.progress_context = (void *)"searching";
    refused(kith_collection_generation_check(c, 2, &options, &report, &error), KITH_E_CANCELLED, "cancelled");
    kith_collection_close(c);
}

/* The same vectors again give the same answers; others not: a flip can ask for that. */
static void test_overlap(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    kith_flip_options options = KITH_FLIP_OPTIONS_INIT;
    kith_flip_report report = KITH_FLIP_REPORT_INIT;
    uint32_t two, three;
    must(begin_of(c, DIM, "m2", &two));
    must(fill(c, 2, DIM, 0, ITEMS, KITH_UPDATE));
    must(begin_of(c, DIM, "m3", &three));
    for (uint64_t id = 0; id < ITEMS; id++) {
        const float row[DIM] = {(float)id, (float)id, (float)id, (float)id};
        const kith_item_vectors vectors = {.data = row, .dtype = KITH_F32, .dim = DIM, .generation = 3};
        kith_items items = KITH_ITEMS_INIT;
        items.ids = (kith_ids){.count = 1, .ids = &id};
        items.vectors = &vectors, items.vector_count = 1;
        must(kith_collection_write(c, &items, KITH_UPDATE, NULL, &error));
    }
    options.min_overlap = 0.9;
    refused(kith_collection_flip(c, 2, &options, &report, &error), KITH_E_DATA, "overlap with the current answers");
    assert_int_equal(current_of(c), 1);
    options.min_recall = 1;
    must(kith_collection_flip(c, 3, &options, &report, &error));
    assert_true(report.overlap == 1);
    assert_true(report.recall == 1);
    kith_generation_check_options none = KITH_GENERATION_CHECK_OPTIONS_INIT;
    none.sample = 0;
    options.check = &none;
    refused(kith_collection_flip(c, 2, &options, &report, &error), KITH_E_ARG, "by a sample");
    kith_collection_close(c);
}

/* ---- Others who look on ------------------------------------------------------------------------------------------ */

static void test_followers(void **state) {
    (void)state;
    char path[600];
    uint32_t number;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *c = shop_at(path), *reader = open_at(path, 1);
    answers(reader, (struct asked){0}, 1, DIM);
    must(begin_of(c, WIDE, "m2", &number));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    answers(reader, (struct asked){.generation = 2}, 2, WIDE);
    must(kith_collection_flip(c, 2, NULL, NULL, &error));
    answers(reader, (struct asked){0}, 2, WIDE);
    assert_int_equal(current_of(reader), 2);
    compact(c);
    answers(reader, (struct asked){.generation = 1}, 1, DIM);
    must(kith_collection_generation_drop(c, 1, &error));
    answers(reader, (struct asked){0}, 2, WIDE);
    must(begin_of(c, 9, "m3", &number)); /* in the slot of generation 1 */
    assert_int_equal(ki_collection_generations(c)->slots, 3);
    must(fill(c, 3, 9, 0, ITEMS, KITH_UPDATE));
    answers(reader, (struct asked){.generation = 3}, 3, 9);
    compact(c);
    must(kith_collection_flip(c, 3, NULL, NULL, &error));
    answers(reader, (struct asked){0}, 3, 9);
    refused(kith_collection_flip(reader, 2, NULL, NULL, &error), KITH_E_ARG, "reading only");
    refused(kith_collection_generation_drop(reader, 2, &error), KITH_E_ARG, "reading only");
    kith_collection_close(reader);
    kith_collection_close(c);
}

/* Copies have all generations. */
static void test_copies(void **state) {
    (void)state;
    char path[600], copy[600], restored[600];
    uint32_t two;
    snprintf(path, sizeof(path), "%s", fresh());
    snprintf(copy, sizeof(copy), "%s", fresh());
    snprintf(restored, sizeof(restored), "%s", fresh());
    kith_collection *c = shop_at(path);
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    compact(c);
    must(kith_collection_flip(c, 2, NULL, NULL, &error));
    must(kith_collection_snapshot(c, copy, &error));
    must(kith_collection_generation_drop(c, 1, &error));
    kith_collection_close(c);
    must(kith_collection_restore(copy, restored, NULL, NULL, &error));
    c = open_at(restored, 0);
    answers(c, (struct asked){0}, 2, WIDE);
    must(kith_collection_flip(c, 0, NULL, NULL, &error));
    answers(c, (struct asked){0}, 1, DIM);
    kith_collection_close(c);
}

/* A damaged index of one generation: what repair saves is of all others too. */
static void test_repair(void **state) {
    (void)state;
    char path[600], file[700];
    uint32_t two;
    snprintf(path, sizeof(path), "%s", fresh());
    kith_collection *c = shop_at(path);
    must(begin_of(c, WIDE, "m2", &two));
    must(fill(c, 2, WIDE, 0, ITEMS, KITH_UPDATE));
    compact(c);
    must(kith_collection_flip(c, 2, NULL, NULL, &error));
    ki_snapshot *snapshot = ki_snapshot_pin(c);
    snprintf(file, sizeof(file), "%s/vectors.0.kith", snapshot->sealed[0].sealed->folder);
    ki_snapshot_release(snapshot);
    kith_collection_close(c);
    assert_int_equal(truncate(file, 100), 0);
    must(kith_collection_repair(path, NULL, NULL, NULL, NULL, NULL, &error));
    must(kith_collection_verify(path, NULL, NULL, NULL, &error));
    c = open_at(path, 0);
    assert_int_equal(current_of(c), 2);
    answers(c, (struct asked){0}, 2, WIDE);
    kith_collection_close(c);
}

/* ---- Profiles ---------------------------------------------------------------------------------------------------- */

/* What was liked alone is what is most like the profile. */
static void liked_first(kith_collection *c, const kith_ask *ask, kith_result *result, uint64_t id) {
    kith_hits hits = KITH_HITS_INIT;
    must(kith_collection_search(c, ask, result, &error));
    must(kith_result_hits(result, &hits));
    assert_true(hits.count > 0);
    assert_int_equal(hits.ids[0], id);
}

static void test_profiles(void **state) {
    (void)state;
    kith_collection *c = shop_at(fresh());
    const uint64_t id = 5;
    const kith_ids ids = {.count = 1, .ids = &id};
    const kith_profile_event like = {.kind = KITH_EVENT_LIKE};
    kith_result *result = NULL;
    uint32_t two;
    must(kith_result_create(&result, &error));
    must(kith_collection_profile_event(c, "ann", &ids, &like, NULL, &error));
    must(begin_of(c, DIM, "m2", &two));
    must(fill(c, 2, DIM, 0, ITEMS, KITH_UPDATE));
    kith_ask ask = KITH_ASK_INIT;
    ask.profile = "ann";
    must(kith_collection_search(c, &ask, result, &error));
    must(kith_collection_flip(c, 2, NULL, NULL, &error));
    /* It is made anew of its events for whichever generation is asked; an event writes it down so. */
    liked_first(c, &ask, result, id);
    ask.generation = 1;
    liked_first(c, &ask, result, id);
    ask.generation = 0;
    must(kith_collection_profile_event(c, "ann", &ids, &like, NULL, &error));
    liked_first(c, &ask, result, id);
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    must(kith_collection_profile_get(c, "ann", &report, NULL, 0, &error));
    assert_int_equal(report.dim, DIM);
    assert_int_equal(report.interests, 1);
    /* A later use of the slot of generation 1 is no use of its vectors. */
    must(kith_collection_generation_drop(c, 1, &error));
    must(kith_collection_search(c, &ask, result, &error));
    kith_result_destroy(result);
    kith_collection_close(c);
}

/* ---- All at once ------------------------------------------------------------------------------------------------- */

struct busy {
    kith_collection *collection;
    atomic_int over;
    atomic_ulong searches;
    char why[200];
};

/* An answer is wholly of the generation that it says. */
static int one_search(kith_collection *c, kith_result *result, unsigned number, char why[200]) {
    const float value = (float)(number % ITEMS);
    const float row[DIM] = {value, value, value, value};
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = row, queries.dtype = KITH_F32, queries.count = 1, queries.dim = DIM;
    const kith_leg leg = {.queries = &queries};
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits hits = KITH_HITS_INIT;
    kith_error own = {0};
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg, ask.leg_count = 1, ask.k = ITEMS, ask.report = &report;
    if (kith_collection_search(c, &ask, result, &own) != KITH_OK) {
        snprintf(why, 200, "%.150s", own.text);
        return 0;
    }
    (void)kith_result_hits(result, &hits);
    for (size_t i = 0; i < hits.count; i++) {
        const float off = value_of(report.generation, hits.ids[i]) - value;
        if (hits.distances[i] == DIM * off * off) continue;
        snprintf(why, 200, "generation %u: hit %zu is %llu at %g", (unsigned)report.generation, i,
                 (unsigned long long)hits.ids[i], (double)hits.distances[i]);
        return 0;
    }
    if (hits.count == ITEMS) return 1;
    snprintf(why, 200, "generation %u: %zu hits", (unsigned)report.generation, hits.count);
    return 0;
}

static void *search_on(void *context) {
    struct busy *busy = context;
    kith_result *result = NULL;
    if (kith_result_create(&result, NULL) != KITH_OK) return NULL;
    for (unsigned i = 0; !atomic_load(&busy->over); i++) {
        char why[200];
        if (!one_search(busy->collection, result, i, why)) {
            memcpy(busy->why, why, sizeof(why));
            atomic_store(&busy->over, 1);
        }
        atomic_fetch_add(&busy->searches, 1);
    }
    kith_result_destroy(result);
    return NULL;
}

/* Writes the current generation's vectors, whichever that is: both values are the item's own. */
static void *write_on(void *context) {
    struct busy *busy = context;
    kith_error own;
    for (uint64_t i = 0; !atomic_load(&busy->over); i++) {
        const uint64_t id = i % ITEMS;
        const char *payload = i % 2 ? "{\"color\": \"red\"}" : "{\"color\": \"blue\"}";
        const uint64_t end = strlen(payload);
        float row[2][DIM];
        uint32_t number[2] = {1, 2};
        kith_item_vectors vectors[2];
        for (size_t g = 0; g < 2; g++) {
            for (size_t d = 0; d < DIM; d++) row[g][d] = value_of(number[g], id);
            vectors[g] = (kith_item_vectors){.data = row[g], .dtype = KITH_F32, .dim = DIM, .generation = number[g]};
        }
        kith_items items = KITH_ITEMS_INIT;
        items.ids = (kith_ids){.count = 1, .ids = &id};
        items.vectors = vectors, items.vector_count = 2;
        items.payload_bytes = payload, items.payload_ends = &end;
        memset(&own, 0, sizeof(own));
        if (kith_collection_write(busy->collection, &items, KITH_UPSERT, NULL, &own) != KITH_OK) {
            snprintf(busy->why, sizeof(busy->why), "%.150s", own.text);
            atomic_store(&busy->over, 1);
        } else if (*own.text) {
            snprintf(busy->why, sizeof(busy->why), "an error that is none: %.100s", own.text);
            atomic_store(&busy->over, 1);
        }
    }
    return NULL;
}

static void test_flips_while_others_work(void **state) {
    (void)state;
    enum { SEARCHERS = 3, FLIPS = 60 };
    struct busy busy = {.collection = shop_at(fresh())};
    pthread_t thread[SEARCHERS + 1];
    uint32_t two, three;
    must(begin_of(busy.collection, DIM, "m2", &two));
    must(fill(busy.collection, 2, DIM, 0, ITEMS, KITH_UPDATE));
    for (size_t t = 0; t < SEARCHERS; t++) assert_int_equal(pthread_create(&thread[t], NULL, search_on, &busy), 0);
    assert_int_equal(pthread_create(&thread[SEARCHERS], NULL, write_on, &busy), 0);
    for (int i = 0; i < FLIPS && !atomic_load(&busy.over); i++) {
        must(kith_collection_flip(busy.collection, i % 2 ? 1 : 2, NULL, NULL, &error));
        if (i % 10 != 5) continue;
        must(begin_of(busy.collection, WIDE, "m3", &three));
        if (i % 20 == 5) compact(busy.collection);
        must(kith_collection_generation_drop(busy.collection, three, &error));
    }
    const unsigned long searches = atomic_load(&busy.searches);
    atomic_store(&busy.over, 1);
    for (size_t t = 0; t <= SEARCHERS; t++) pthread_join(thread[t], NULL);
    if (busy.why[0]) fail_msg("%s", busy.why);
    assert_true(searches > 0);
    kith_collection_close(busy.collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flip_and_back),  cmocka_unit_test(test_reads),
        cmocka_unit_test(test_reads_by_id),    cmocka_unit_test(test_shared_names),
        cmocka_unit_test(test_writes),         cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_drop_and_reuse), cmocka_unit_test(test_drop_the_first),
        cmocka_unit_test(test_room_is_made),   cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_canary),         cmocka_unit_test(test_check),
        cmocka_unit_test(test_overlap),        cmocka_unit_test(test_followers),
        cmocka_unit_test(test_copies),         cmocka_unit_test(test_repair),
        cmocka_unit_test(test_profiles),       cmocka_unit_test(test_flips_while_others_work),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
