/* SPDX-License-Identifier: Apache-2.0
 *
 * An answer as bytes, all numbers little-endian:
 *
 *     "KITHRES1", u32 queries, u32 flags (1: string ids)
 *     u32 ends[queries]: query q has the items ends[q-1]..ends[q]; then zeros to a multiple of 8
 *     u64 ids[items] (string ids: the numbers that stand for them)
 *     f32 distances[items]
 *     with string ids: u32 id_ends[items], and the bytes of all ids back to back */
#include <string.h>

#include "native/ask.h"

typedef struct raw_head {
    char magic[8];
    uint32_t queries, flags;
} raw_head;

static void add_strings(ks_text *text, const kith_hits *hits, size_t first, size_t count) {
    const uint64_t begin = first ? hits->id_ends[first - 1] : 0;
    for (size_t i = first; i < first + count; i++) {
        const uint32_t end = (uint32_t)(hits->id_ends[i] - begin);
        ks_text_add(text, &end, sizeof end);
    }
    if (count) ks_text_add(text, hits->id_bytes + begin, (size_t)(hits->id_ends[first + count - 1] - begin));
}

void ks_v1_answer_raw(ks_call *call, const ks_search *search, const ks_found *found) {
    const kith_hits *hits = found->hits;
    const int strings = search->shop->id_kind == KITH_ID_STRING;
    const size_t last = found->first + found->count; /* queries */
    const size_t first = found->first ? (size_t)hits->ends[found->first - 1] : 0;
    const size_t count = last ? (size_t)hits->ends[last - 1] - first : 0;
    ks_text *text = &call->reply.body;
    call->reply.type = "application/octet-stream";
    const raw_head head = {"KITHRES1", (uint32_t)found->count, (uint32_t)strings};
    ks_text_add(text, &head, sizeof head);
    for (size_t q = found->first; q < last; q++) {
        const uint32_t end = (uint32_t)(hits->ends[q] - first);
        ks_text_add(text, &end, sizeof end);
    }
    ks_text_add(text, "\0\0\0\0\0\0\0", (8 - text->used % 8) % 8);
    ks_text_add(text, hits->ids + first, count * sizeof *hits->ids);
    char *distances = ks_text_reserve(text, count * sizeof(float));
    for (size_t i = 0; distances && i < count; i++) {
        const float distance = hits->distances[first + i] + 0.0f; /* no minus zero */
        memcpy(distances + i * sizeof distance, &distance, sizeof distance);
    }
    if (distances) text->used += count * sizeof(float);
    if (strings) add_strings(text, hits, first, count);
    ks_v1_written(call);
}
