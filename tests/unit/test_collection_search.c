/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches of collections against a plain scan over what they should hold: rows in segments, in heads, and dead ones in
 * both; metrics, types and kinds of ids; filters on fields that are declared, that are not, and on segments. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/rng.h"
#include "upkeep/seal.h"
#include "support/data.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 300, DIM = 16, ROW_MAX = DIM * 4, QUERIES = 20, SPECS = 2 };

static kith_error error;

#define OK(call)                                                                                                       \
    do {                                                                                                               \
        error = (kith_error){0};                                                                                       \
        const kith_status status_of_call = (call);                                                                     \
        if (status_of_call != KITH_OK) fail_msg("%s: %s", #call, error.text);                                          \
    } while (0)

/* ---- A collection, and what it should hold ----------------------------------------------------------------------- */

struct item {
    int lives, has[SPECS];
    unsigned char row[SPECS][ROW_MAX]; /* as stored */
    unsigned price, free, tenant;
    uint64_t key;
};

struct world {
    kith_vector_spec spec[SPECS];
    kith_id_kind id_kind;
    kith_collection *collection;
    kith_result *result;
    ki_rng rng;
    struct item item[ITEMS];
    uint64_t next_key;
};

static void world_make(struct world *w, kith_dtype dtype, kith_metric metric, kith_id_kind id_kind) {
    static const kith_field fields[] = {{"price", KITH_FIELD_INT, 0}, {"tenant", KITH_FIELD_TAG, 0}};
    memset(w, 0, sizeof(*w));
    w->spec[0] = (kith_vector_spec){"", DIM, dtype, metric};
    w->spec[1] = (kith_vector_spec){"other", DIM, KITH_F32, KITH_L2SQ};
    w->id_kind = id_kind;
    w->rng = (ki_rng){(uint64_t)dtype * 10 + metric};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    made.id_kind = id_kind;
    made.vectors = w->spec;
    made.vector_count = SPECS;
    made.fields = fields;
    made.field_count = 2;
    made.segment_field = "tenant";
    made.model = "m1";
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    options.no_background = 1;
    options.threads = 2;
    OK(kith_collection_open_memory(&made, &options, &w->collection, &error));
    OK(kith_result_create(&w->result, &error));
}

static void world_free(struct world *w) {
    kith_result_destroy(w->result);
    kith_collection_close(w->collection);
}

static void fill_row(struct world *w, size_t spec, void *row) {
    float floats[DIM];
    for (size_t d = 0; d < DIM; d++) floats[d] = (float)ki_rng_below(&w->rng, 7) - 2.5f; /* few values: ties */
    if (w->spec[spec].dtype == KITH_B1)
        for (size_t b = 0; b < DIM / 8; b++) ((unsigned char *)row)[b] = (unsigned char)ki_rng_below(&w->rng, 256);
    else
        data_convert(floats, w->spec[spec].dtype, DIM, row);
}

static size_t text_of(size_t id, char text[32]) {
    return (size_t)snprintf(text, 32, "item-%zu", id);
}

static kith_ids ids_of(const struct world *w, size_t id, uint64_t *number, char text[32], uint64_t *end) {
    *number = id * 3 + 1;
    *end = text_of(id, text);
    if (w->id_kind == KITH_ID_U64) return (kith_ids){1, number, NULL, NULL};
    return (kith_ids){1, NULL, text, end};
}

static void put(struct world *w, size_t id) {
    struct item *item = &w->item[id];
    char text[32], payload[128];
    uint64_t number, end;
    uint8_t present[SPECS];
    kith_item_vectors vectors[SPECS];
    if (!item->lives) item->key = w->id_kind == KITH_ID_U64 ? id * 3 + 1 : KITH_ID_NONE; /* learnt when found */
    item->lives = 1;
    for (size_t s = 0; s < SPECS; s++) {
        item->has[s] = s == 0 ? ki_rng_below(&w->rng, 10) != 0 : ki_rng_below(&w->rng, 3) != 0;
        fill_row(w, s, item->row[s]);
        present[s] = (uint8_t)item->has[s];
        vectors[s] = (kith_item_vectors){.name = w->spec[s].name,
                                         .data = item->row[s],
                                         .dtype = w->spec[s].dtype,
                                         .dim = DIM,
                                         .present = &present[s]};
    }
    item->price = (unsigned)ki_rng_below(&w->rng, 100);
    item->free = (unsigned)ki_rng_below(&w->rng, 10);
    item->tenant = (unsigned)ki_rng_below(&w->rng, 5);
    const uint64_t payload_end =
        (uint64_t)snprintf(payload, sizeof(payload), "{\"price\": %u, \"free\": %u, \"tenant\": \"t%u\"}", item->price,
                           item->free, item->tenant);
    kith_items items = KITH_ITEMS_INIT;
    items.ids = ids_of(w, id, &number, text, &end);
    items.vectors = vectors;
    items.vector_count = SPECS;
    items.payload_bytes = payload;
    items.payload_ends = &payload_end;
    OK(kith_collection_write(w->collection, &items, KITH_UPSERT, NULL, &error));
}

static void kill_item(struct world *w, size_t id) {
    char text[32];
    uint64_t number, end;
    const kith_ids ids = ids_of(w, id, &number, text, &end);
    OK(kith_collection_delete(w->collection, &ids, NULL, NULL, &error));
    w->item[id].lives = 0;
}

static void churn(struct world *w, size_t writes) {
    for (size_t i = 0; i < writes; i++) {
        const size_t id = (size_t)ki_rng_below(&w->rng, ITEMS);
        if (w->item[id].lives && ki_rng_below(&w->rng, 4) == 0)
            kill_item(w, id);
        else
            put(w, id);
    }
}

static void seal(struct world *w) {
    OK(ki_seal(w->collection, KI_SEAL_ALL, NULL, NULL, &error));
}

/* The numbers of string ids. */
static void learn_keys(struct world *w) {
    for (size_t id = 0; id < ITEMS && w->id_kind == KITH_ID_STRING; id++) {
        char text[32];
        uint64_t number, end;
        const kith_ids ids = ids_of(w, id, &number, text, &end);
        kith_hits hits = KITH_HITS_INIT;
        if (!w->item[id].lives) continue;
        OK(kith_collection_get(w->collection, &ids, 0, w->result, &error));
        kith_result_hits(w->result, &hits);
        assert_int_equal(hits.count, 1);
        w->item[id].key = hits.ids[0];
    }
}

/* ---- What a search must give ------------------------------------------------------------------------------------- */

struct want {
    const char *filter, *segment;
    int (*lets)(const struct item *item); /* what the filter means; NULL: all */
    int tenant;                           /* what the segment means; -1: all */
};

static int cheap(const struct item *item) {
    return item->price < 30;
}
static int rare(const struct item *item) {
    return item->price == 7;
}
static int odd(const struct item *item) {
    return item->free % 2 == 1;
}
static int nothing(const struct item *item) {
    return item->price > 1000;
}
static int mixed(const struct item *item) {
    return item->price < 50 && item->free != 3;
}

static const struct want wants[] = {
    {NULL, NULL, NULL, -1},
    {"price < 30", NULL, cheap, -1},
    {"{\"must\": [{\"key\": \"price\", \"range\": {\"lt\": 30}}]}", NULL, cheap, -1},
    {"price = 7", NULL, rare, -1},
    {"free in (1, 3, 5, 7, 9)", NULL, odd, -1},
    {"price > 1000", NULL, nothing, -1},
    {"price < 50 and not free = 3", NULL, mixed, -1},
    {NULL, "t3", NULL, 3},
    {NULL, "nobody", NULL, 99},
    {"price < 30", "t2", cheap, 2},
    {"price < 50 and free != 3", "t1", mixed, 1},
    {"  ", NULL, NULL, -1},
};
enum { WANTS = sizeof(wants) / sizeof(*wants) };

struct found {
    float distance;
    uint64_t key;
    size_t id;
};

static int before(const void *a, const void *b) {
    const struct found *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

static size_t expected(const struct world *w, size_t spec, const struct want *want, const void *query,
                       struct found *found) {
    size_t count = 0;
    for (size_t id = 0; id < ITEMS; id++) {
        const struct item *item = &w->item[id];
        if (!item->lives || !item->has[spec] || (want->lets && !want->lets(item))) continue;
        if (want->tenant >= 0 && item->tenant != (unsigned)want->tenant) continue;
        found[count] = (struct found){0, item->key, id};
        assert_int_equal(kith_distance(w->spec[spec].metric, w->spec[spec].dtype, DIM, query, item->row[spec],
                                       &found[count].distance),
                         KITH_OK);
        count++;
    }
    qsort(found, count, sizeof(*found), before);
    return count;
}

static uint64_t matching(const struct world *w, const struct want *want) {
    uint64_t count = 0;
    for (size_t id = 0; id < ITEMS; id++) {
        const struct item *item = &w->item[id];
        count += item->lives && (!want->lets || want->lets(item)) &&
                 (want->tenant < 0 || item->tenant == (unsigned)want->tenant);
    }
    return count;
}

static kith_queries queries_of(const struct world *w, size_t spec, const void *data, size_t count) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = data;
    queries.dtype = w->spec[spec].dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = count;
    queries.dim = DIM;
    return queries;
}

static size_t query_bytes(const struct world *w, size_t spec) {
    return w->spec[spec].dtype == KITH_B1 ? DIM / 8 : DIM * sizeof(float);
}

/* Queries of which some are stored rows. Small numbers, which every type has. */
static unsigned char *make_queries(struct world *w, size_t spec, size_t count) {
    unsigned char *data = malloc(count * DIM * sizeof(float)), row[ROW_MAX];
    assert_non_null(data);
    for (size_t q = 0; q < count; q++) {
        if (w->spec[spec].dtype == KITH_B1) {
            fill_row(w, spec, data + q * query_bytes(w, spec));
            continue;
        }
        fill_row(w, spec, row);
        data_floats(w->spec[spec].dtype, row, DIM, (float *)(void *)(data + q * query_bytes(w, spec)));
        ((float *)(void *)(data + q * query_bytes(w, spec)))[0] += 0.25f * (float)(q % 3);
    }
    return data;
}

static void check_texts(const struct world *w, const kith_hits *hits, size_t at, size_t id) {
    char text[32];
    const size_t bytes = text_of(id, text);
    if (w->id_kind == KITH_ID_U64) {
        assert_null(hits->id_bytes);
        assert_null(hits->id_ends);
        return;
    }
    const uint64_t begin = at ? hits->id_ends[at - 1] : 0;
    assert_int_equal(hits->id_ends[at] - begin, bytes);
    assert_memory_equal(hits->id_bytes + begin, text, bytes);
}

static void check_payload(const struct world *w, const kith_hits *hits, size_t at, size_t id) {
    char price[32], text[256] = "";
    const uint64_t begin = at ? hits->payload_ends[at - 1] : 0, bytes = hits->payload_ends[at] - begin;
    assert_true(bytes > 0 && bytes < sizeof(text));
    memcpy(text, hits->payload_bytes + begin, bytes);
    snprintf(price, sizeof(price), "\"price\": %u,", w->item[id].price);
    if (!strstr(text, price)) {
        snprintf(price, sizeof(price), "\"price\":%u,", w->item[id].price);
        assert_non_null(strstr(text, price));
    }
    assert_true(hits->versions[at] > 0);
    assert_int_equal(hits->expires_ms[at], 0);
}

static void check_vectors(const struct world *w, size_t at, size_t id) {
    for (size_t s = 0; s < SPECS; s++) {
        const uint8_t *present = NULL;
        const unsigned char *rows = kith_result_vectors(w->result, w->spec[s].name, &present);
        const size_t bytes = query_bytes(w, s);
        float floats[DIM] = {0};
        assert_non_null(rows);
        assert_int_equal(present[at], w->item[id].has[s]);
        if (w->spec[s].dtype == KITH_B1) {
            unsigned char zeros[ROW_MAX] = {0};
            assert_memory_equal(rows + at * bytes, present[at] ? w->item[id].row[s] : zeros, bytes);
            continue;
        }
        if (present[at]) data_floats(w->spec[s].dtype, w->item[id].row[s], DIM, floats);
        assert_memory_equal(rows + at * bytes, floats, bytes);
    }
}

struct shape {
    size_t spec, queries, k;
    unsigned with;
    kith_plan plan;
    double target;
};

static void check_search(struct world *w, const struct want *want, struct shape shape) {
    unsigned char *data = make_queries(w, shape.spec, shape.queries);
    const kith_queries queries = queries_of(w, shape.spec, data, shape.queries);
    const kith_leg leg = {.vector = w->spec[shape.spec].name, .queries = &queries};
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits hits = KITH_HITS_INIT;
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.k = shape.k;
    ask.filter = want->filter;
    ask.segment = want->segment;
    ask.with = shape.with;
    ask.plan = shape.plan;
    ask.target_recall = shape.target;
    if (shape.k % 2) ask.report = &report;
    OK(kith_collection_search(w->collection, &ask, w->result, &error));
    if (ask.report) assert_int_equal(report.matched, matching(w, want));
    assert_int_equal(kith_result_hits(w->result, &hits), KITH_OK);
    assert_int_equal(hits.queries, shape.queries);
    size_t at = 0;
    for (size_t q = 0; q < shape.queries; q++) {
        struct found found[ITEMS];
        const size_t all = expected(w, shape.spec, want, data + q * query_bytes(w, shape.spec), found);
        const size_t count = all < shape.k ? all : shape.k;
        assert_int_equal(hits.ends[q] - at, count);
        for (size_t i = 0; i < count; i++, at++) {
            assert_int_equal(hits.ids[at], found[i].key);
            assert_memory_equal(&hits.distances[at], &found[i].distance, sizeof(float));
            check_texts(w, &hits, at, found[i].id);
            if (shape.with & KITH_WITH_PAYLOAD) check_payload(w, &hits, at, found[i].id);
            if (shape.with & KITH_WITH_VECTORS) check_vectors(w, at, found[i].id);
        }
    }
    assert_int_equal(hits.count, at);
    free(data);
}

static void check_all(struct world *w) {
    const unsigned all = KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS;
    learn_keys(w);
    for (size_t i = 0; i < WANTS; i++) {
        check_search(w, &wants[i], (struct shape){.queries = 1, .k = 10});
        check_search(w, &wants[i], (struct shape){.queries = 3, .k = 5, .with = all});
        check_search(w, &wants[i], (struct shape){.spec = 1, .queries = QUERIES, .k = 7});
        check_search(w, &wants[i], (struct shape){.queries = 2, .k = 501, .with = KITH_WITH_VECTORS});
        check_search(w, &wants[i], (struct shape){.queries = 1, .k = 3, .plan = KITH_PLAN_PLAIN});
        check_search(w, &wants[i], (struct shape){.queries = 1, .k = 3, .plan = KITH_PLAN_SCAN});
        check_search(w, &wants[i], (struct shape){.queries = 1, .k = 4, .plan = KITH_PLAN_GATHER, .target = 0.9});
    }
}

/* A life: empty, a head, segments beside a head, deaths in all of them, one segment. */
static void live(kith_dtype dtype, kith_metric metric, kith_id_kind id_kind) {
    static struct world w;
    world_make(&w, dtype, metric, id_kind);
    check_all(&w); /* nothing is there */
    churn(&w, 40);
    check_all(&w);
    churn(&w, 300);
    seal(&w);
    check_all(&w);
    churn(&w, 200);
    check_all(&w);
    seal(&w);
    churn(&w, 100);
    check_all(&w);
    OK(kith_collection_compact(w.collection, NULL, NULL, &error));
    check_all(&w);
    for (size_t id = 0; id < ITEMS; id++) kill_item(&w, id);
    check_all(&w); /* all are dead */
    world_free(&w);
}

static void test_floats(void **state) {
    (void)state;
    live(KITH_F32, KITH_L2SQ, KITH_ID_U64);
    live(KITH_F32, KITH_IP, KITH_ID_STRING);
    live(KITH_F32, KITH_COSINE, KITH_ID_U64);
}

static void test_other_types(void **state) {
    (void)state;
    live(KITH_F16, KITH_L2SQ, KITH_ID_STRING);
    live(KITH_BF16, KITH_COSINE, KITH_ID_U64);
    live(KITH_I8, KITH_IP, KITH_ID_U64);
    live(KITH_U8, KITH_L2SQ, KITH_ID_STRING);
}

static void test_bits(void **state) {
    (void)state;
    live(KITH_B1, KITH_HAMMING, KITH_ID_U64);
    live(KITH_B1, KITH_JACCARD, KITH_ID_STRING);
}

/* ---- Legs -------------------------------------------------------------------------------------------------------- */

/* Ranks of two vectors, by the formula. */
static void test_fused(void **state) {
    (void)state;
    static struct world w;
    world_make(&w, KITH_F32, KITH_COSINE, KITH_ID_U64);
    churn(&w, 300);
    seal(&w);
    churn(&w, 60);
    unsigned char *data[SPECS] = {make_queries(&w, 0, 3), make_queries(&w, 1, 3)};
    const kith_queries queries[SPECS] = {queries_of(&w, 0, data[0], 3), queries_of(&w, 1, data[1], 3)};
    const kith_leg legs[SPECS] = {{"", &queries[0], 0}, {"other", &queries[1], 2.5}};
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = legs;
    ask.leg_count = SPECS;
    ask.k = 40;
    ask.filter = "price < 50 and not free = 3";
    OK(kith_collection_search(w.collection, &ask, w.result, &error));
    kith_hits hits = KITH_HITS_INIT;
    kith_result_hits(w.result, &hits);
    for (size_t q = 0; q < 3; q++) {
        struct found found[SPECS][ITEMS], sum[ITEMS];
        size_t count[SPECS], all = 0;
        for (size_t s = 0; s < SPECS; s++)
            count[s] = expected(&w, s, &(struct want){.lets = mixed, .tenant = -1}, data[s] + q * DIM * 4, found[s]);
        for (size_t id = 0; id < ITEMS; id++) {
            double score = 0;
            for (size_t s = 0; s < SPECS; s++)
                for (size_t r = 0; r < count[s] && r < 160; r++)
                    if (found[s][r].id == id) score += (s ? 2.5 : 1) / (61 + (double)r);
            if (score > 0) sum[all++] = (struct found){(float)-score, w.item[id].key, id};
        }
        qsort(sum, all, sizeof(*sum), before);
        const size_t first = q ? (size_t)hits.ends[q - 1] : 0, wanted = all < 40 ? all : 40;
        assert_int_equal(hits.ends[q] - first, wanted);
        for (size_t i = 0; i < wanted; i++) {
            assert_int_equal(hits.ids[first + i], sum[i].key);
            assert_true(hits.distances[first + i] == sum[i].distance);
        }
    }
    free(data[0]);
    free(data[1]);
    world_free(&w);
}

/* ---- What is refused --------------------------------------------------------------------------------------------- */

static int stop_at_once(void *context) {
    (void)context;
    return 1;
}

static kith_status ask_for(struct world *w, const kith_ask *ask) {
    error = (kith_error){0};
    return kith_collection_search(w->collection, ask, w->result, &error);
}

static void refused(struct world *w, kith_ask ask, kith_status status, const char *words) {
    assert_int_equal(ask_for(w, &ask), status);
    assert_non_null(strstr(error.text, words));
}

static void test_refusals(void **state) {
    (void)state;
    static struct world w;
    world_make(&w, KITH_F32, KITH_COSINE, KITH_ID_U64);
    churn(&w, 100);
    float row[DIM] = {1, 2}, zero[2 * DIM] = {[0] = 1};
    kith_queries queries = queries_of(&w, 0, row, 1), two = queries_of(&w, 0, zero, 2);
    kith_leg leg = {"", &queries, 0}, pair[2] = {{"", &queries, 0}, {"", &two, 0}};
    kith_ask good = KITH_ASK_INIT, ask;
    good.legs = &leg;
    good.leg_count = 1;
    assert_int_equal(ask_for(&w, &good), KITH_OK);
#define REFUSED(change, status, words)                                                                                 \
    do {                                                                                                               \
        ask = good;                                                                                                    \
        change;                                                                                                        \
        refused(&w, ask, status, words);                                                                               \
    } while (0)
    REFUSED(ask.k = 0, KITH_E_ARG, "k is 0");
    REFUSED(ask.k = KITH_K_MAX + 1, KITH_E_ARG, "10001");
    REFUSED(ask.leg_count = 0, KITH_E_ARG, "0 legs");
    REFUSED(ask.target_recall = NAN, KITH_E_ARG, "target_recall");
    REFUSED(ask.plan = KITH_PLAN_IVF, KITH_E_ARG, "ivf");
    REFUSED(ask.plan = (kith_plan)77, KITH_E_ARG, "plan");
    REFUSED(ask.model = "m2", KITH_E_ARG, "m2");
    REFUSED(ask.filter = "price <", KITH_E_ARG, "column");
    REFUSED(ask.filter = "price = \"red\"", KITH_E_ARG, "price");
    REFUSED(ask.with = 1u << 20, KITH_E_ARG, "with");
    REFUSED((ask.legs = pair, ask.leg_count = 2), KITH_E_ARG, "leg 1");
    REFUSED(leg.vector = "no such", KITH_E_NOTFOUND, "no such");
    leg.vector = NULL;
    REFUSED(leg.weight = -1, KITH_E_ARG, "weight");
    leg.weight = 0;
    REFUSED(queries.dim = DIM + 1, KITH_E_ARG, "dimensions");
    queries.dim = DIM;
    REFUSED(leg.queries = &two, KITH_E_DATA, "query 1 is a zero vector");
    leg.queries = &queries;
    REFUSED(ask.cancelled = stop_at_once, KITH_E_CANCELLED, "cancelled");
    REFUSED((ask.cancelled = stop_at_once, ask.min_version = 1000000), KITH_E_CANCELLED, "cancelled");
    REFUSED(ask.timeout_ns = 1, KITH_E_DEADLINE, "time");
    REFUSED((ask.min_version = 1000000, ask.timeout_ns = 1000), KITH_E_DEADLINE, "version");
    kith_hits hits = KITH_HITS_INIT;
    kith_result_hits(w.result, &hits);
    assert_int_equal(hits.count, 0); /* of a search that failed nothing is left */
    ask = good;
    ask.model = "m1";
    assert_int_equal(ask_for(&w, &ask), KITH_OK);
    queries.count = 0;
    assert_int_equal(ask_for(&w, &ask), KITH_OK);
    world_free(&w);
}

static void test_no_segment_field(void **state) {
    (void)state;
    const kith_vector_spec spec = {"", DIM, KITH_F32, KITH_L2SQ};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection *collection = NULL;
    kith_result *result = NULL;
    const float row[DIM] = {1};
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = row;
    queries.dtype = KITH_F32;
    queries.count = 1;
    queries.dim = DIM;
    const kith_leg leg = {NULL, &queries, 0};
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.segment = "x";
    made.vectors = &spec;
    made.vector_count = 1;
    OK(kith_collection_open_memory(&made, NULL, &collection, &error));
    OK(kith_result_create(&result, &error));
    assert_int_equal(kith_collection_search(collection, &ask, result, &error), KITH_E_NOTFOUND);
    kith_result_destroy(result);
    kith_collection_close(collection);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floats), cmocka_unit_test(test_other_types), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_fused),  cmocka_unit_test(test_refusals),    cmocka_unit_test(test_no_segment_field),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
