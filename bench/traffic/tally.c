/* SPDX-License-Identifier: Apache-2.0 */
#include "tally.h"

#include <stdlib.h>

static size_t place(const struct traffic_tally *tally, uint32_t key) {
    size_t at = (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 24) & (tally->room - 1);
    while (tally->counts[at] && tally->keys[at] != key) at = (at + 1) & (tally->room - 1);
    return at;
}

static bool grow(struct traffic_tally *tally) {
    struct traffic_tally grown = {.room = tally->room ? tally->room * 2 : 1024, .used = tally->used};
    grown.keys = malloc(grown.room * sizeof(uint32_t));
    grown.counts = calloc(grown.room, sizeof(uint32_t));
    if (!grown.keys || !grown.counts) {
        traffic_tally_free(&grown);
        return false;
    }
    for (size_t i = 0; i < tally->room; i++) {
        if (!tally->counts[i]) continue;
        const size_t at = place(&grown, tally->keys[i]);
        grown.keys[at] = tally->keys[i];
        grown.counts[at] = tally->counts[i];
    }
    traffic_tally_free(tally);
    *tally = grown;
    return true;
}

bool traffic_tally_add(struct traffic_tally *tally, uint32_t key) {
    if (tally->used >= tally->room / 2 && !grow(tally)) return false;
    const size_t at = place(tally, key);
    if (!tally->counts[at]) {
        tally->keys[at] = key;
        tally->used++;
    }
    if (tally->counts[at] < UINT32_MAX) tally->counts[at]++;
    return true;
}

uint32_t traffic_tally_count(const struct traffic_tally *tally, uint32_t key) {
    return tally->room ? tally->counts[place(tally, key)] : 0;
}

static int descending(const void *a, const void *b) {
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left < right) - (left > right);
}

size_t traffic_tally_sort(struct traffic_tally *tally) {
    size_t used = 0;
    for (size_t i = 0; i < tally->room; i++)
        if (tally->counts[i]) tally->counts[used++] = tally->counts[i];
    if (used) qsort(tally->counts, used, sizeof(uint32_t), descending);
    return used;
}

void traffic_tally_free(struct traffic_tally *tally) {
    free(tally->keys);
    free(tally->counts);
    *tally = (struct traffic_tally){.room = 0};
}
