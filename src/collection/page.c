/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages: the keys of searches, and results as bytes. A hit copies the page into the result's memory and allocates
 * nothing that an earlier search of its kind has not allocated. */
#include "collection/page.h"

#include "base/checked.h"
#include "collection/result.h"

#include <string.h>

enum { QUERIES_MOST = 16, K_MOST = 1000 };

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

/* The head of a key: numbers alone, so that no byte of it is left to chance. */
enum {
    KEY_TAG,
    KEY_GENERATION,
    KEY_SEGMENT, /* bytes + 1; 0: none */
    KEY_FILTER,  /* likewise */
    KEY_K,
    KEY_TARGET,
    KEY_PLAN,
    KEY_WITH,
    KEY_LEGS,
    KEY_PROFILE, /* 0: none */
    KEY_SEEN,
    KEY_DIVERSITY,
    KEY_QUERIES,
    KEY_NUMBERS
};
enum { LEG_SPEC, LEG_WEIGHT, LEG_DTYPE, LEG_NUMBERS };

static uint64_t bits_of(double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof(bits));
    return bits;
}

void ki_page_begin(ki_page_search *search) {
    const ki_pages *pages = search->collection->pages;
    search->edits = pages ? atomic_load(&pages->touched.edits) : 0;
}

int ki_page_may_be(ki_page_search *search) {
    const kith_ask *ask = search->ask;
    ki_pages *pages = search->collection->pages;
    const size_t queries = search->legs[0].queries.count;
    search->key_bytes = 0;
    return pages && queries != 0 && queries <= QUERIES_MOST && ask->k <= K_MOST && ask->plan != KITH_PLAN_PLAIN &&
           !(ask->profile && !search->profile) && !(ask->with & KITH_WITH_VECTORS) && !atomic_load(&pages->stopped);
}

static size_t row_of(const ki_asked_leg *leg) {
    return (size_t)kith_row_bytes(leg->queries.dtype, leg->queries.dim);
}

static size_t bytes_of_key(const ki_page_search *search, size_t segment, size_t filter) {
    uint64_t bytes = (KEY_NUMBERS + search->leg_count * LEG_NUMBERS) * sizeof(uint64_t) + segment + filter;
    for (size_t i = 0; i < search->leg_count; i++) bytes += row_of(&search->legs[i]) * search->legs[i].queries.count;
    return (size_t)bytes;
}

static unsigned char *put_bytes(unsigned char *to, const void *bytes, size_t count) {
    if (count) memcpy(to, bytes, count);
    return to + count;
}

static unsigned char *put_leg(unsigned char *to, const ki_asked_leg *leg) {
    const kith_queries *queries = &leg->queries;
    const size_t row = row_of(leg), stride = queries->stride_bytes ? queries->stride_bytes : row;
    uint64_t number[LEG_NUMBERS];
    number[LEG_SPEC] = leg->spec;
    number[LEG_WEIGHT] = bits_of(leg->weight);
    number[LEG_DTYPE] = (uint64_t)queries->dtype;
    to = put_bytes(to, number, sizeof(number));
    for (size_t q = 0; q < queries->count; q++) to = put_bytes(to, (const char *)queries->data + q * stride, row);
    return to;
}

/* 0: there is no key, for want of a tag or of memory. */
static int make_key(ki_page_search *search, const ki_snapshot *snapshot) {
    const kith_ask *ask = search->ask;
    const size_t segment = ask->segment ? strlen(ask->segment) : 0, filter = ask->filter ? strlen(ask->filter) : 0;
    uint64_t number[KEY_NUMBERS];
    if (!ki_touched_tag(search->collection->pages, snapshot, ask->segment, &number[KEY_TAG])) return 0;
    number[KEY_GENERATION] = ask->target_recall > 0 || ask->filter ? snapshot->generation : 0;
    number[KEY_SEGMENT] = ask->segment ? segment + 1 : 0;
    number[KEY_FILTER] = ask->filter ? filter + 1 : 0;
    number[KEY_K] = ask->k;
    number[KEY_TARGET] = bits_of(ask->target_recall);
    number[KEY_PLAN] = (uint64_t)ask->plan;
    number[KEY_WITH] = ask->with;
    number[KEY_LEGS] = search->leg_count;
    number[KEY_PROFILE] = ask->profile ? search->profile : 0;
    number[KEY_SEEN] = ask->leave_out_seen != 0;
    number[KEY_DIVERSITY] = bits_of(ask->diversity);
    number[KEY_QUERIES] = search->legs[0].queries.count;
    const size_t bytes = bytes_of_key(search, segment, filter);
    unsigned char *to = ki_area_take(search->memory, bytes, 1);
    if (!to) return 0;
    to = put_bytes(to, number, sizeof(number));
    to = put_bytes(to, ask->segment, segment);
    to = put_bytes(to, ask->filter, filter);
    for (size_t i = 0; i < search->leg_count; i++) to = put_leg(to, &search->legs[i]);
    search->key_bytes = bytes;
    return 1;
}

/* ---- Results as bytes -------------------------------------------------------------------------------------------- */

/* What begins a page; the arrays follow. Texts are static. */
typedef struct page {
    uint64_t queries, count, text_used, payload_used, matched;
    const char *filter_how, *plan_name, *tier;
    kith_plan plan;
    int exact, found_exact, read_payloads;
    unsigned threads;
} page;

enum { PARTS = 9 };
struct part {
    ki_area *area;
    uint64_t bytes;
};

/* The arrays of a result of its kind and counts. */
static void parts_of(const kith_result *result, struct part part[PARTS]) {
    kith_result *in = (kith_result *)result; /* for its areas: who asks says whether they change */
    const uint64_t numbers = result->count * sizeof(uint64_t);
    const uint64_t versions = result->with & KITH_WITH_VERSION ? numbers : 0;
    part[0] = (struct part){&in->ends, result->queries * sizeof(uint64_t)};
    part[1] = (struct part){&in->ids, numbers};
    part[2] = (struct part){&in->text_ends, result->texts ? numbers : 0};
    part[3] = (struct part){&in->payload_ends, result->with & KITH_WITH_PAYLOAD ? numbers : 0};
    part[4] = (struct part){&in->versions, versions};
    part[5] = (struct part){&in->expires, versions};
    part[6] = (struct part){&in->distance, result->count * sizeof(float)};
    part[7] = (struct part){&in->text_bytes, result->text_used};
    part[8] = (struct part){&in->payload_bytes, result->payload_used};
}

/* 0: the result has no memory for it, and holds nothing. */
static int read_page(const page *from, kith_result *result) {
    struct part part[PARTS];
    const char *bytes = (const char *)(from + 1);
    result->queries = (size_t)from->queries;
    result->count = (size_t)from->count;
    result->text_used = from->text_used;
    result->payload_used = from->payload_used;
    parts_of(result, part);
    for (int i = 0; i < PARTS; i++) {
        void *to = ki_area_grow(part[i].area, part[i].bytes, 1);
        if (!to) {
            ki_result_forget(result);
            return 0;
        }
        if (part[i].bytes) memcpy(to, bytes, part[i].bytes);
        bytes += part[i].bytes;
    }
    return 1;
}

static void write_page(const kith_result *result, const struct part part[PARTS], const kith_ask_report *report,
                       const kith_explain *explain, page *to) {
    char *bytes = (char *)(to + 1);
    memset(to, 0, sizeof(*to));
    *to = (page){.queries = result->queries,
                 .count = result->count,
                 .text_used = result->text_used,
                 .payload_used = result->payload_used,
                 .matched = report->matched,
                 .filter_how = report->filter_how,
                 .plan_name = explain->plan_name,
                 .tier = explain->tier,
                 .plan = explain->plan,
                 .exact = report->exact,
                 .found_exact = explain->exact,
                 .read_payloads = report->read_payloads,
                 .threads = explain->threads};
    for (int i = 0; i < PARTS; i++) {
        if (part[i].bytes) memcpy(bytes, part[i].area->data, part[i].bytes);
        bytes += part[i].bytes;
    }
}

/* What is told of an answer that was kept: of the state that it holds for, and that nothing was looked at. */
static void tell(const page *from, const ki_snapshot *snapshot, kith_ask_report *report, kith_explain *explain) {
    report->version = snapshot->version;
    report->items = snapshot->items;
    report->matched = from->matched;
    report->exact = from->exact;
    report->read_payloads = from->read_payloads;
    report->filter_how = from->filter_how;
    report->cached = 1;
    explain->plan = from->plan;
    explain->plan_name = from->plan_name;
    explain->tier = from->tier;
    explain->exact = from->found_exact;
    explain->threads = from->threads;
}

/* ---- Finding and keeping ----------------------------------------------------------------------------------------- */

int ki_page_find(ki_page_search *search, const ki_snapshot *snapshot, kith_result *result, kith_ask_report *report,
                 kith_explain *explain) {
    size_t bytes;
    if (!make_key(search, snapshot)) return 0;
    ki_cache_entry *entry = ki_cache_get(search->collection->pages->cache, search->memory->data, search->key_bytes);
    if (!entry) return 0;
    const page *from = ki_cache_value(entry, &bytes);
    const int done = read_page(from, result);
    if (done) tell(from, snapshot, report, explain);
    ki_cache_release(entry);
    return done;
}

void ki_page_keep(const ki_page_search *search, const kith_result *result, const kith_ask_report *report,
                  const kith_explain *explain) {
    ki_pages *pages = search->collection->pages;
    const int from_catalog = report->read_payloads || (search->ask->with & (KITH_WITH_PAYLOAD | KITH_WITH_VERSION));
    struct part part[PARTS];
    uint64_t bytes = sizeof(page);
    void *value;
    if (!search->key_bytes || atomic_load(&pages->stopped)) return;
    if (from_catalog && (search->edits % 2 || search->edits != atomic_load(&pages->touched.edits))) return; /* P5 */
    parts_of(result, part);
    for (int i = 0; i < PARTS; i++) bytes += part[i].bytes;
    if (!ki_cache_takes(pages->cache, search->key_bytes, bytes)) return;
    ki_cache_entry *entry = ki_cache_entry_create(search->memory->data, search->key_bytes, bytes, &value);
    if (!entry) return;
    write_page(result, part, report, explain, value);
    ki_cache_put(pages->cache, entry);
}
