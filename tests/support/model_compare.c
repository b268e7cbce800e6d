/* SPDX-License-Identifier: Apache-2.0
 *
 * See model.h: a collection's answers beside the model's. */
#include "support/model.h"

#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WITH_ALL = KITH_WITH_PAYLOAD | KITH_WITH_VERSION | KITH_WITH_VECTORS, QUERIES_MAX = 3 };

/* No item has this id, or one up to 100 more. */
static const uint64_t ABSENT = UINT64_C(1) << 62;

#define DIFFERS(...)                                                                                                   \
    do {                                                                                                               \
        snprintf(why, MODEL_TEXT_BYTES, __VA_ARGS__);                                                                  \
        return 0;                                                                                                      \
    } while (0)

static void *need(void *memory) {
    if (memory) return memory;
    fprintf(stderr, "model: no memory for the test itself\n");
    abort();
}

static unsigned long long number(uint64_t value) {
    return value;
}

static const char *called(const kith_vector_spec *spec) {
    return spec->name ? spec->name : "";
}

/* ---- Ids that are asked for -------------------------------------------------------------------------------------- */

struct asked {
    kith_ids ids;
    uint64_t *id, *end;
    char *text;
    size_t bytes;
};

static void ask_for(struct asked *asked, uint64_t id, const char *text) {
    const size_t count = asked->ids.count++, bytes = text ? strlen(text) : 0;
    asked->id = need(realloc(asked->id, (count + 1) * sizeof(*asked->id)));
    asked->end = need(realloc(asked->end, (count + 1) * sizeof(*asked->end)));
    asked->text = need(realloc(asked->text, asked->bytes + bytes + 1));
    if (bytes) memcpy(asked->text + asked->bytes, text, bytes);
    asked->bytes += bytes;
    asked->id[count] = id;
    asked->end[count] = asked->bytes;
    asked->ids.ids = text ? NULL : asked->id;
    asked->ids.id_bytes = text ? asked->text : NULL;
    asked->ids.id_ends = text ? asked->end : NULL;
}

static void asked_free(struct asked *asked) {
    free(asked->id);
    free(asked->end);
    free(asked->text);
}

static int compare_items(const void *a, const void *b) {
    const model_item *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

int model_learn(model *m, kith_collection *collection, kith_result *result, char *why) {
    kith_error error = {KITH_OK, ""};
    kith_hits hits = KITH_HITS_INIT;
    struct asked asked = {0};
    uint64_t most = 0;
    int any = 0, status = 1;
    for (size_t i = 0; i < m->count; i++) {
        if (m->item[i].id == UINT64_MAX) {
            ask_for(&asked, 0, m->item[i].text);
        } else {
            any = 1;
            most = m->item[i].id > most ? m->item[i].id : most;
        }
    }
    if (asked.ids.count && kith_collection_get(collection, &asked.ids, 0, result, &error) != KITH_OK) {
        snprintf(why, MODEL_TEXT_BYTES, "get of new items: %s", error.text);
        status = 0;
    } else if (asked.ids.count) {
        size_t next = 0;
        kith_result_hits(result, &hits);
        if (hits.count != asked.ids.count) {
            snprintf(why, MODEL_TEXT_BYTES, "%zu of %zu new items are there", hits.count, asked.ids.count);
            status = 0;
        }
        for (size_t i = 0; status && i < m->count; i++) {
            if (m->item[i].id != UINT64_MAX) continue;
            if (any && hits.ids[next] <= most) {
                snprintf(why, MODEL_TEXT_BYTES, "new item %s has the number %llu, and there is a greater one, %llu",
                         m->item[i].text, number(hits.ids[next]), number(most));
                status = 0;
            }
            any = 1;
            most = m->item[i].id = hits.ids[next++];
        }
    }
    asked_free(&asked);
    if (m->count) qsort(m->item, m->count, sizeof(*m->item), compare_items);
    return status;
}

/* ---- Items ------------------------------------------------------------------------------------------------------- */

static int same_payload(const kith_hits *hits, size_t at, const model_item *item, char *why) {
    const uint64_t begin = at ? hits->payload_ends[at - 1] : 0, bytes = hits->payload_ends[at] - begin;
    json_t *payload = bytes ? json_loadb(hits->payload_bytes + begin, bytes, 0, NULL) : NULL;
    const int same = item->payload ? payload && json_equal(payload, item->payload) : bytes == 0;
    json_decref(payload);
    if (same) return 1;
    char *expected = item->payload ? json_dumps(item->payload, JSON_COMPACT) : NULL;
    snprintf(why, MODEL_TEXT_BYTES, "item %llu has the payload \"%.*s\" instead of \"%s\"", number(item->id),
             (int)bytes, hits->payload_bytes + begin, expected ? expected : "");
    free(expected);
    return 0;
}

static int same_text(const model *m, const kith_hits *hits, size_t at, const model_item *item) {
    if (m->id_kind == KITH_ID_U64) return 1;
    if (!hits->id_bytes) return 0;
    const uint64_t begin = at ? hits->id_ends[at - 1] : 0, bytes = hits->id_ends[at] - begin;
    return bytes == strlen(item->text) && memcmp(hits->id_bytes + begin, item->text, bytes) == 0;
}

static int same_vectors(const model *m, const kith_result *result, size_t at, const model_item *item, char *why) {
    for (size_t s = 0; s < m->spec_count; s++) {
        const kith_vector_spec *spec = &m->spec[s];
        const uint8_t *present = NULL;
        const unsigned char *rows = kith_result_vectors(result, called(spec), &present);
        const int has = rows && present[at];
        if (has != (item->vector[s] != NULL))
            DIFFERS("item %llu %s a vector \"%s\"", number(item->id), has ? "has" : "lacks", called(spec));
        if (!has) continue;
        const size_t bytes = spec->dtype == KITH_B1 ? spec->dim / 8 : spec->dim * sizeof(float);
        unsigned char *expected = need(malloc(bytes));
        if (spec->dtype == KITH_B1)
            memcpy(expected, item->vector[s], bytes);
        else
            data_floats(spec->dtype, item->vector[s], spec->dim, (float *)(void *)expected);
        const int same = memcmp(rows + at * bytes, expected, bytes) == 0;
        free(expected);
        if (!same) DIFFERS("item %llu has another vector \"%s\"", number(item->id), called(spec));
    }
    return 1;
}

static int same_item(const model *m, const kith_result *result, const kith_hits *hits, size_t at,
                     const model_item *item, char *why) {
    if (hits->ids[at] != item->id || !same_text(m, hits, at, item)) {
        char *payload = item->payload ? json_dumps(item->payload, JSON_COMPACT) : NULL;
        snprintf(why, MODEL_TEXT_BYTES, "place %zu has item %llu instead of %llu (%s), whose payload is %s", at,
                 number(hits->ids[at]), number(item->id), item->text ? item->text : "", payload ? payload : "missing");
        free(payload);
        return 0;
    }
    if (hits->versions[at] != item->version)
        DIFFERS("item %llu has version %llu instead of %llu", number(item->id), number(hits->versions[at]),
                number(item->version));
    if (hits->expires_ms[at] != item->expires_ms)
        DIFFERS("item %llu expires at %llu instead of %llu", number(item->id), number(hits->expires_ms[at]),
                number(item->expires_ms));
    return same_payload(hits, at, item, why) && same_vectors(m, result, at, item, why);
}

/* The items behind `after` that match, page by page. */
static int same_scroll(const model *m, kith_collection *collection, kith_result *result, const condition *where,
                       const char *filter, size_t limit, char *why) {
    kith_error error = {KITH_OK, ""};
    kith_scroll scroll = KITH_SCROLL_INIT;
    size_t at = 0;
    scroll.filter = filter;
    scroll.limit = limit;
    scroll.with = WITH_ALL;
    for (int more = 1; more; scroll.from_start = 0) {
        kith_hits hits = KITH_HITS_INIT;
        if (kith_collection_scroll(collection, &scroll, result, &error) != KITH_OK)
            DIFFERS("scroll where %s: %s", filter ? filter : "all", error.text);
        kith_result_hits(result, &hits);
        if (hits.count > limit) DIFFERS("a page of %zu has %zu items", limit, hits.count);
        more = hits.count == limit;
        for (size_t i = 0; i < hits.count; i++, at++) {
            while (at < m->count && where && !condition_holds(where, m->item[at].payload, m->item[at].id)) at++;
            if (at == m->count)
                DIFFERS("scroll where %s gives item %llu too", filter ? filter : "all", number(hits.ids[i]));
            if (!same_item(m, result, &hits, i, &m->item[at], why)) return 0;
            scroll.after = hits.ids[i];
        }
    }
    while (at < m->count && where && !condition_holds(where, m->item[at].payload, m->item[at].id)) at++;
    if (at < m->count) DIFFERS("scroll where %s lacks item %llu", filter ? filter : "all", number(m->item[at].id));
    return 1;
}

static int same_get(const model *m, kith_collection *collection, kith_result *result, ki_rng *rng, char *why) {
    kith_error error = {KITH_OK, ""};
    kith_hits hits = KITH_HITS_INIT;
    struct asked asked = {0};
    size_t place[12], places = 0;
    uint8_t exists[24];
    for (size_t i = 0; i < sizeof(place) / sizeof(*place); i++) {
        if (m->count && ki_rng_below(rng, 4)) {
            place[places] = ki_rng_below(rng, m->count);
            ask_for(&asked, m->item[place[places]].id, m->item[place[places]].text);
            places++;
        } else {
            ask_for(&asked, ABSENT + i, m->id_kind == KITH_ID_STRING ? "no such item" : NULL);
        }
    }
    int same = kith_collection_get(collection, &asked.ids, WITH_ALL, result, &error) == KITH_OK;
    if (!same) snprintf(why, MODEL_TEXT_BYTES, "get: %s", error.text);
    if (same) {
        kith_result_hits(result, &hits);
        same = hits.count == places && !hits.distances;
        if (!same) snprintf(why, MODEL_TEXT_BYTES, "get of %zu items that are there gives %zu", places, hits.count);
    }
    for (size_t i = 0; same && i < places; i++) same = same_item(m, result, &hits, i, &m->item[place[i]], why);
    if (same && kith_collection_exists(collection, &asked.ids, exists, &error) != KITH_OK) {
        snprintf(why, MODEL_TEXT_BYTES, "exists: %s", error.text);
        same = 0;
    }
    for (size_t i = 0, next = 0; same && i < asked.ids.count; i++) {
        const int there = next < places &&
                          (m->id_kind == KITH_ID_U64 ? asked.id[i] == m->item[place[next]].id : asked.id[i] < ABSENT);
        next += (size_t)there;
        same = exists[i] == there;
        if (!same) snprintf(why, MODEL_TEXT_BYTES, "exists says %d of item %llu", exists[i], number(asked.id[i]));
    }
    asked_free(&asked);
    return same;
}

/* ---- Searches ---------------------------------------------------------------------------------------------------- */

struct hit {
    uint64_t id;
    float distance;
    double fused;
};

static int compare_hits(const void *a, const void *b) {
    const struct hit *x = a, *y = b;
    if (x->distance != y->distance) return x->distance < y->distance ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* segment: NULL, or what the segment field must say. */
static int passes(const model *m, const model_item *item, const condition *where, const char *segment) {
    const char *own = segment ? json_string_value(json_object_get(item->payload, m->segment_field)) : NULL;
    if (segment && (!own || strcmp(own, segment) != 0)) return 0;
    return !where || condition_holds(where, item->payload, item->id);
}

/* All that match and have the vector, sorted. */
static size_t expected_hits(const model *m, size_t spec, const void *query, const condition *where, const char *segment,
                            struct hit *hits) {
    size_t used = 0;
    for (size_t i = 0; i < m->count; i++) {
        const model_item *item = &m->item[i];
        if (!item->vector[spec] || !passes(m, item, where, segment)) continue;
        if (kith_distance(m->spec[spec].metric, m->spec[spec].dtype, m->spec[spec].dim, query, item->vector[spec],
                          &hits[used].distance) != KITH_OK)
            abort();
        hits[used++].id = item->id;
    }
    qsort(hits, used, sizeof(*hits), compare_hits);
    return used;
}

/* Reciprocal ranks of all legs. */
static size_t expected_fused(const model *m, size_t legs, const size_t *spec, const void *const *query,
                             const double *weight, const condition *where, struct hit *hits) {
    struct hit *leg = need(calloc(m->count + 1, sizeof(*leg)));
    size_t used = 0;
    for (size_t l = 0; l < legs; l++) {
        const size_t found = expected_hits(m, spec[l], query[l], where, NULL, leg);
        for (size_t rank = 0; rank < found; rank++) {
            size_t at = 0;
            while (at < used && hits[at].id != leg[rank].id) at++;
            if (at == used) hits[used++] = (struct hit){.id = leg[rank].id};
            hits[at].fused += weight[l] / (double)(60 + rank + 1);
        }
    }
    free(leg);
    for (size_t i = 0; i < used; i++) hits[i].distance = (float)-hits[i].fused;
    qsort(hits, used, sizeof(*hits), compare_hits);
    return used;
}

/* Queries near stored vectors, or anywhere. */
static void *make_queries(const model *m, size_t spec, size_t count, ki_rng *rng) {
    const kith_vector_spec *s = &m->spec[spec];
    const kith_dtype dtype = s->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    const size_t bytes = kith_row_bytes(dtype, s->dim);
    unsigned char *queries = need(malloc(count * bytes));
    for (size_t q = 0; q < count; q++) {
        const unsigned char *stored = m->count ? m->item[ki_rng_below(rng, m->count)].vector[spec] : NULL;
        unsigned char *to = queries + q * bytes;
        if (dtype == KITH_B1) {
            for (size_t i = 0; i < bytes; i++) to[i] = (unsigned char)ki_rng_next(rng);
            if (stored) memcpy(to, stored, bytes);
            continue;
        }
        float *row = (float *)(void *)to;
        for (size_t i = 0; i < s->dim; i++) row[i] = (float)ki_rng_normal(rng);
        if (stored && ki_rng_below(rng, 3)) data_floats(s->dtype, stored, s->dim, row);
        if (stored && ki_rng_below(rng, 2))
            for (size_t i = 0; i < s->dim; i++) row[i] += 0.25f * (float)ki_rng_normal(rng);
        if (s->metric == KITH_COSINE) row[0] += 1e-3f;
    }
    return queries;
}

static int same_hits(const struct hit *expected, size_t count, const kith_hits *hits, size_t begin, size_t end,
                     const char *what, char *why) {
    for (size_t i = 0; i < count && begin + i < end; i++) {
        const float distance = hits->distances[begin + i];
        if (memcmp(&distance, &expected[i].distance, sizeof(distance)) != 0 || hits->ids[begin + i] != expected[i].id)
            DIFFERS("%s: place %zu of %zu has item %llu at %.9g instead of %llu at %.9g", what, i, count,
                    number(hits->ids[begin + i]), (double)distance, number(expected[i].id),
                    (double)expected[i].distance);
    }
    if (end - begin != count) DIFFERS("%s: %zu items instead of %zu", what, end - begin, count);
    return 1;
}

static kith_queries queries_of(const kith_vector_spec *spec, const void *data, size_t count) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = data;
    queries.dtype = spec->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = count;
    queries.dim = spec->dim;
    return queries;
}

/* One vector, some queries. */
static int same_one_leg(const model *m, kith_collection *collection, kith_result *result, const condition *where,
                        const char *filter, ki_rng *rng, char *why) {
    const size_t spec = ki_rng_below(rng, m->spec_count), count = ki_rng_below(rng, 2) ? 1 : QUERIES_MAX;
    const kith_vector_spec *s = &m->spec[spec];
    static const size_t ks[] = {1, 10, 37};
    const uint64_t which = ki_rng_below(rng, 5);
    const size_t k = which < 3 ? ks[which] : m->count + 1 + ki_rng_below(rng, 5),
                 row = kith_row_bytes(s->dtype == KITH_B1 ? KITH_B1 : KITH_F32, s->dim);
    unsigned char *data = make_queries(m, spec, count, rng);
    struct hit *expected = need(calloc(m->count + 1, sizeof(*expected)));
    kith_error error = {KITH_OK, ""};
    kith_queries queries = queries_of(s, data, count);
    const kith_leg leg = {s->name, &queries, 0};
    kith_ask ask = KITH_ASK_INIT;
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits hits = KITH_HITS_INIT;
    char what[640];
    ask.legs = &leg, ask.leg_count = 1, ask.k = k, ask.filter = filter, ask.report = &report;
    ask.with = ki_rng_below(rng, 3) == 0 ? WITH_ALL : 0;
    ask.min_version = m->version;
    size_t matches = 0;
    if (m->segment_field && ki_rng_below(rng, 2)) ask.segment = ki_rng_below(rng, 2) ? "red" : "r\xc3\xb6t";
    for (size_t i = 0; i < m->count; i++) matches += (size_t)passes(m, &m->item[i], where, ask.segment);
    snprintf(what, sizeof(what), "search of \"%s\" in segment %s for %zu where %.400s", called(s),
             ask.segment ? ask.segment : "-", k, filter ? filter : "all");
    int same = kith_collection_search(collection, &ask, result, &error) == KITH_OK;
    if (!same) snprintf(why, MODEL_TEXT_BYTES, "%.400s: %.500s", what, error.text);
    kith_result_hits(result, &hits);
    if (same && (hits.queries != count || !report.exact || report.items != m->count || report.matched != matches ||
                 report.version < m->version)) {
        snprintf(why, MODEL_TEXT_BYTES,
                 "%s: reports %llu items and %llu matches of %zu and %zu, exact %d, version %llu of %llu", what,
                 number(report.items), number(report.matched), m->count, matches, report.exact, number(report.version),
                 number(m->version));
        const size_t used = strlen(why);
        if (where) (void)same_scroll(m, collection, result, where, filter, 10, why + used); /* which item it is */
        same = 0;
    }
    for (size_t q = 0; same && q < count; q++) {
        const size_t found = expected_hits(m, spec, data + q * row, where, ask.segment, expected);
        same = same_hits(expected, found < k ? found : k, &hits, q ? hits.ends[q - 1] : 0, hits.ends[q], what, why);
    }
    for (size_t i = 0; same && ask.with && i < hits.count; i++) {
        const model_item key = {.id = hits.ids[i]};
        const model_item *item = bsearch(&key, m->item, m->count, sizeof(*m->item), compare_items);
        same = item && same_item(m, result, &hits, i, item, why);
    }
    free(expected);
    free(data);
    return same;
}

/* Several vectors fused, all ranks of each. */
static int same_fused(const model *m, kith_collection *collection, kith_result *result, const condition *where,
                      const char *filter, ki_rng *rng, char *why) {
    size_t spec[KITH_VECTORS_MAX];
    double weight[KITH_VECTORS_MAX];
    void *data[KITH_VECTORS_MAX];
    kith_queries queries[KITH_VECTORS_MAX];
    kith_leg legs[KITH_VECTORS_MAX];
    kith_error error = {KITH_OK, ""};
    kith_hits hits = KITH_HITS_INIT;
    kith_ask ask = KITH_ASK_INIT;
    for (size_t l = 0; l < m->spec_count; l++) {
        spec[l] = l;
        weight[l] = 1 + (double)ki_rng_below(rng, 3);
        data[l] = make_queries(m, l, 1, rng);
        queries[l] = queries_of(&m->spec[l], data[l], 1);
        legs[l] = (kith_leg){m->spec[l].name, &queries[l], weight[l]};
    }
    ask.legs = legs, ask.leg_count = m->spec_count, ask.k = m->count + 1, ask.filter = filter;
    struct hit *expected = need(calloc(m->count + 1, sizeof(*expected)));
    const size_t found = expected_fused(m, m->spec_count, spec, (const void *const *)data, weight, where, expected);
    int same = kith_collection_search(collection, &ask, result, &error) == KITH_OK;
    if (same) {
        kith_result_hits(result, &hits);
        same = same_hits(expected, found, &hits, 0, hits.count, "fused search", why);
    } else {
        snprintf(why, MODEL_TEXT_BYTES, "fused search: %s", error.text);
    }
    free(expected);
    for (size_t l = 0; l < m->spec_count; l++) free(data[l]);
    return same;
}

int model_same_search(const model *m, kith_collection *collection, kith_result *result, const condition *where,
                      ki_rng *rng, char *why) {
    kith_error error = {KITH_OK, ""};
    char *text = NULL;
    uint64_t count = 0;
    if (where) {
        if (ki_rng_below(rng, 2)) text = condition_text(where);
        if (!text) text = condition_json(where);
        if (!text) text = condition_text(where);
        if (!text) return 1; /* ids with prefixes: neither language says that */
    }
    int same = same_one_leg(m, collection, result, where, text, rng, why);
    if (same && m->spec_count > 1 && ki_rng_below(rng, 3) == 0)
        same = same_fused(m, collection, result, where, text, rng, why);
    if (same && kith_collection_count(collection, text, &count, &error) != KITH_OK) {
        snprintf(why, MODEL_TEXT_BYTES, "count: %s", error.text);
        same = 0;
    }
    if (same && count != model_count(m, where)) {
        snprintf(why, MODEL_TEXT_BYTES, "count where %.400s is %llu instead of %zu", text ? text : "all", number(count),
                 model_count(m, where));
        same = 0;
    }
    if (same && where && ki_rng_below(rng, 3) == 0)
        same = same_scroll(m, collection, result, where, text, 1 + ki_rng_below(rng, 40), why);
    free(text);
    return same;
}

int model_same(const model *m, kith_collection *collection, kith_result *result, ki_rng *rng, char *why) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    if (kith_collection_get_info(collection, &info) != KITH_OK) DIFFERS("no info");
    if (!same_scroll(m, collection, result, NULL, NULL, 7 + ki_rng_below(rng, 300), why)) return 0;
    if (info.items != m->count || info.id_kind != m->id_kind || info.vectors != m->spec_count)
        DIFFERS("info tells of %llu items instead of %zu", number(info.items), m->count);
    if (info.version < m->version) DIFFERS("version %llu instead of %llu", number(info.version), number(m->version));
    for (size_t i = 0; i < 2 * m->spec_count; i++)
        if (!model_same_search(m, collection, result, NULL, rng, why)) return 0;
    return same_get(m, collection, result, rng, why);
}
