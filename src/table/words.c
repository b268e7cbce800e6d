/* SPDX-License-Identifier: Apache-2.0
 *
 * A hash table of strings by XXH3 with linear probing, and the sorts that a table is written with. */
#define _GNU_SOURCE
#include "table/words.h"

#include "base/checked.h"
#include "base/counting_sort.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { SLOTS_LEAST = 64, DIGITS = 256 };

void ki_words_free(ki_words *words) {
    free(words->bytes);
    free(words->ends);
    free(words->slot);
    *words = (ki_words){0};
}

static void place(uint64_t *slot, uint64_t slots, uint64_t entry) {
    uint64_t at = (entry >> 32) & (slots - 1);
    while (slot[at]) at = (at + 1) & (slots - 1);
    slot[at] = entry;
}

/* At most half of the slots are taken. */
static bool reserve_slots(ki_words *words) {
    if (2 * ((uint64_t)words->count + 1) <= words->slots) return true;
    const uint64_t slots = words->slots ? 2 * words->slots : SLOTS_LEAST;
    uint64_t *slot = ki_alloc_array_zeroed(slots, sizeof(*slot));
    if (!slot) return false;
    for (uint64_t i = 0; i < words->slots; i++)
        if (words->slot[i]) place(slot, slots, words->slot[i]);
    free(words->slot);
    words->slot = slot;
    words->slots = slots;
    return true;
}

static bool reserve_string(ki_words *words, size_t bytes) {
    void *text = words->bytes, *ends = words->ends;
    uint64_t needed;
    const bool fits = ki_add(words->used, bytes, &needed) && ki_array_reserve(&text, &words->bytes_room, needed, 1);
    words->bytes = text;
    const bool ready = fits && ki_array_reserve(&ends, &words->ends_room, (uint64_t)words->count + 1, sizeof(uint64_t));
    words->ends = ends;
    return ready;
}

bool ki_words_number(ki_words *words, const char *text, size_t bytes, uint32_t *number) {
    const uint64_t hash = XXH3_64bits(text, bytes) >> 32;
    if (words->count >= UINT32_MAX - 1 || !reserve_slots(words)) return false;
    for (uint64_t at = hash & (words->slots - 1); words->slot[at]; at = (at + 1) & (words->slots - 1)) {
        if (words->slot[at] >> 32 != hash) continue;
        size_t other_bytes;
        const uint32_t found = (uint32_t)words->slot[at] - 1;
        const char *other = ki_words_at(words, found, &other_bytes);
        if (other_bytes != bytes || (bytes && memcmp(other, text, bytes) != 0)) continue;
        *number = found;
        return true;
    }
    if (!reserve_string(words, bytes)) return false;
    if (bytes) memcpy(words->bytes + words->used, text, bytes);
    words->used += bytes;
    words->ends[words->count] = words->used;
    *number = words->count++;
    place(words->slot, words->slots, hash << 32 | words->count);
    return true;
}

/* ---- Sorting ----------------------------------------------------------------------------------------------------- */

struct strings {
    const char *bytes;
    const uint64_t *ends;
};

static int compare_strings(const void *a, const void *b, void *context) {
    const struct strings *s = context;
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    const uint64_t x_start = x ? s->ends[x - 1] : 0, y_start = y ? s->ends[y - 1] : 0;
    const size_t x_bytes = (size_t)(s->ends[x] - x_start), y_bytes = (size_t)(s->ends[y] - y_start);
    const size_t both = ki_min_size(x_bytes, y_bytes);
    const int order = both ? memcmp(s->bytes + x_start, s->bytes + y_start, both) : 0;
    return order ? order : x_bytes < y_bytes ? -1 : x_bytes > y_bytes;
}

uint32_t *ki_sorted_strings(const char *bytes, const uint64_t *ends, uint64_t count) {
    struct strings strings = {bytes, ends};
    uint32_t *order = ki_alloc_array(count, sizeof(*order));
    if (!order) return NULL;
    for (uint64_t i = 0; i < count; i++) order[i] = (uint32_t)i;
    if (count) qsort_r(order, (size_t)count, sizeof(*order), compare_strings, &strings);
    return order;
}

uint32_t *ki_words_sorted(const ki_words *words) {
    return ki_sorted_strings(words->bytes, words->ends, words->count);
}

/* One pass, by a byte of the keys; false: all have the same, and nothing moved. */
static bool sort_by_byte(const uint32_t *from, uint32_t *to, uint64_t count, const uint64_t *key, unsigned shift) {
    uint32_t first[DIGITS + 2];
    ki_sort_begin(first, DIGITS);
    for (uint64_t i = 0; i < count; i++) ki_sort_count(first, key[from[i]] >> shift & 255);
    if (first[(key[from[0]] >> shift & 255) + 2] == count) return false;
    ki_sort_starts(first, DIGITS);
    for (uint64_t i = 0; i < count; i++) to[ki_sort_place(first, key[from[i]] >> shift & 255)] = from[i];
    return true;
}

bool ki_sort_rows(uint32_t *row, uint64_t count, const uint64_t *key) {
    uint32_t *room = ki_alloc_array(count, sizeof(*room)), *from = row, *to = room;
    if (!room) return false;
    for (unsigned shift = 0; count && shift < 64; shift += 8) {
        if (!sort_by_byte(from, to, count, key, shift)) continue;
        uint32_t *sorted = to;
        to = from;
        from = sorted;
    }
    if (from != row && count) memcpy(row, from, count * sizeof(*row));
    free(room);
    return true;
}
