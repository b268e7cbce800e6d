/* SPDX-License-Identifier: Apache-2.0
 *
 * A search is copied: by the thread that answered it, so it takes what it needs and no more. */
#include "watch/sample.h"

#include <stdlib.h>
#include <string.h>

static size_t row_bytes(const kith_queries *queries) {
    if (queries->dtype == KITH_B1) return (queries->dim + 7) / 8;
    const size_t element = queries->dtype == KITH_F32                                  ? 4
                           : queries->dtype == KITH_F16 || queries->dtype == KITH_BF16 ? 2
                                                                                       : 1;
    return queries->dim * element;
}

static size_t text_bytes(const char *text) {
    return text ? strlen(text) + 1 : 0;
}

/* Where the results of a query of the search lie among the hits. */
static size_t first_of(const ks_found *found, size_t query) {
    const size_t place = found->first + query;
    return place ? (size_t)found->hits->ends[place - 1] : 0;
}

static size_t count_of(const ks_found *found, size_t query) {
    return (size_t)found->hits->ends[found->first + query] - first_of(found, query);
}

static size_t id_bytes_of(const kith_hits *hits, size_t first, size_t count) {
    if (!hits->id_ends || !count) return 0;
    return (size_t)(hits->id_ends[first + count - 1] - (first ? hits->id_ends[first - 1] : 0));
}

int ks_sample_fits(const ks_search *search, const ks_found *found) {
    const kith_ask *ask = &search->ask;
    return found->status == KITH_OK && found->hits && found->hits->distances && found->report && found->count &&
           ask->leg_count == 1 && !ask->profile && !(ask->diversity > 0) && !ask->leave_out_seen &&
           ask->legs[0].queries && ask->legs[0].queries->count == found->count;
}

/* Bytes go one behind the other into the block. */
typedef struct ks_packing {
    char *at;
} ks_packing;

static void *pack(ks_packing *packing, const void *bytes, size_t count) {
    char *to = packing->at;
    if (count) memcpy(to, bytes, count);
    packing->at += (count + 7) / 8 * 8;
    return to;
}

static const char *pack_text(ks_packing *packing, const char *text) {
    return text ? pack(packing, text, text_bytes(text)) : NULL;
}

static void pack_ids(ks_packing *packing, const kith_hits *hits, size_t first, ks_sample *sample) {
    const size_t bytes = id_bytes_of(hits, first, sample->count);
    sample->numbers = pack(packing, hits->ids + first, sample->count * sizeof(uint64_t));
    sample->ids = (kith_ids){.count = sample->count, .ids = sample->numbers};
    if (!hits->id_ends) return;
    const uint64_t before = first ? hits->id_ends[first - 1] : 0;
    uint64_t *ends = pack(packing, hits->id_ends + first, sample->count * sizeof(uint64_t));
    for (size_t i = 0; i < sample->count; i++) ends[i] -= before;
    sample->ids = (kith_ids){.count = sample->count, .id_ends = ends};
    sample->ids.id_bytes = pack(packing, hits->id_bytes + before, bytes);
}

ks_sample *ks_sample_copy(const ks_search *search, const ks_found *found, size_t query) {
    const kith_ask *ask = &search->ask;
    const kith_queries *queries = ask->legs[0].queries;
    const size_t first = first_of(found, query), count = count_of(found, query), row = row_bytes(queries);
    const size_t texts = text_bytes(ask->filter) + text_bytes(ask->segment) + text_bytes(ask->legs[0].vector);
    const size_t ids = id_bytes_of(found->hits, first, count);
    /* Each is bounded before it is added: a text by the body that it came in. */
    if (texts > KS_SAMPLE_BYTES_MAX || row > KS_SAMPLE_BYTES_MAX || ids > KS_SAMPLE_BYTES_MAX || count > KITH_K_MAX)
        return NULL;
    const size_t bytes = sizeof(ks_sample) + texts + row + ids + count * 20 + 10 * 8;
    ks_sample *sample = bytes <= KS_SAMPLE_BYTES_MAX ? calloc(1, bytes) : NULL;
    if (!sample) return NULL;
    ks_packing packing = {(char *)(sample + 1)};
    sample->shop = search->shop->number;
    strncpy(sample->name, search->shop->name, KS_NAME_MAX);
    sample->id_kind = search->shop->id_kind;
    sample->version = found->report->version;
    sample->generation = found->report->generation;
    sample->exact = found->report->exact;
    sample->k = ask->k;
    sample->dtype = queries->dtype;
    sample->dim = queries->dim;
    sample->count = count;
    const size_t stride = queries->stride_bytes ? queries->stride_bytes : row;
    sample->query = pack(&packing, (const char *)queries->data + query * stride, row);
    sample->distances = pack(&packing, found->hits->distances + first, count * sizeof(float));
    pack_ids(&packing, found->hits, first, sample);
    sample->filter = pack_text(&packing, ask->filter);
    sample->segment = pack_text(&packing, ask->segment);
    sample->vector = pack_text(&packing, ask->legs[0].vector);
    return sample;
}
