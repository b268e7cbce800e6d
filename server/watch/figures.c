/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at the collections (figures.h). */
#include "watch/figures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* When the current generation was begun. */
static double generation_s(kith_collection *collection, uint32_t number) {
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    for (size_t place = 0; place < KITH_GENERATIONS_MAX; place++) {
        if (kith_collection_generation(collection, place, &info, NULL) != KITH_OK) break;
        if (info.number == number) return (double)info.created_ms / 1e3;
    }
    return 0;
}

static void look_at(const ks_shop *shop, ks_shop_figures *figures) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    memset(figures, 0, sizeof(*figures));
    snprintf(figures->name, sizeof(figures->name), "%s", shop->name);
    figures->number = shop->number;
    if (kith_collection_get_info(shop->collection, &info) != KITH_OK) return;
    const uint64_t apart = info.head_memory_bytes + info.cache_bytes + info.profile_cache_bytes + info.resident_bytes;
    figures->items = info.items;
    figures->segments = info.segments;
    figures->live_rows = info.segment_rows - info.dead_rows;
    figures->dead_rows = info.dead_rows;
    figures->head_rows = info.head_rows;
    figures->disk_bytes = info.disk_bytes;
    figures->head_bytes = info.head_memory_bytes;
    figures->cache_bytes = info.cache_bytes;
    figures->profile_cache_bytes = info.profile_cache_bytes;
    figures->resident_bytes = info.resident_bytes;
    figures->other_bytes = info.memory_bytes > apart ? info.memory_bytes - apart : 0;
    figures->cache_hits = info.cache_hits;
    figures->cache_misses = info.cache_misses;
    figures->cache_evictions = info.cache_evictions;
    figures->profile_hits = info.profile_cache_hits;
    figures->profile_misses = info.profile_cache_misses;
    if (info.working) snprintf(figures->work, sizeof(figures->work), "%s", info.work);
    if (info.working && info.work_total) figures->progress = (double)info.work_done / (double)info.work_total;
    if (figures->progress > 1) figures->progress = 1;
    figures->generation = info.generation;
    figures->generation_s = generation_s(shop->collection, info.generation);
    figures->trouble = info.trouble && *info.trouble;
}

static void add_up(const ks_shop_figures *from, ks_shop_figures *sum) {
    sum->items += from->items;
    sum->segments += from->segments;
    sum->live_rows += from->live_rows;
    sum->dead_rows += from->dead_rows;
    sum->head_rows += from->head_rows;
    sum->disk_bytes += from->disk_bytes;
    sum->head_bytes += from->head_bytes;
    sum->cache_bytes += from->cache_bytes;
    sum->profile_cache_bytes += from->profile_cache_bytes;
    sum->resident_bytes += from->resident_bytes;
    sum->other_bytes += from->other_bytes;
    sum->cache_hits += from->cache_hits;
    sum->cache_misses += from->cache_misses;
    sum->cache_evictions += from->cache_evictions;
    sum->profile_hits += from->profile_hits;
    sum->profile_misses += from->profile_misses;
    sum->trouble |= from->trouble;
}

/* Whether an I/O error made it refuse writes until it is opened anew: removing nothing tells, and changes nothing. */
static int is_broken(const ks_shop *shop) {
    const kith_ids none = {0};
    return kith_collection_delete(shop->collection, &none, NULL, NULL, NULL) == KITH_E_IO;
}

void ks_figures_look(ks_figures *figures, ks_shelf *shelf, ks_counts *counts, const ks_proc *proc, int doubt) {
    ks_figures seen = {.shops = calloc(KS_COLLECTIONS_MAX, sizeof(*seen.shops))};
    ks_shop *shop;
    if (!seen.shops) return;
    snprintf(seen.others.name, sizeof(seen.others.name), "other");
    for (size_t place = 0; shelf && (shop = ks_shelf_at(shelf, place)) != NULL; place++) {
        ks_shop_figures one;
        look_at(shop, &one);
        if (doubt && is_broken(shop)) {
            one.trouble = 1;
            seen.broken++;
        }
        ks_shelf_return(shelf, shop);
        if (ks_names_add(&counts->collections, one.name) >= 0 && seen.count < KS_COLLECTIONS_MAX) {
            seen.shops[seen.count++] = one;
        } else {
            add_up(&one, &seen.others);
            seen.other_count++;
        }
    }
    ks_proc_read(proc, &seen.process);
    ks_figures_free(figures);
    *figures = seen;
}

void ks_figures_free(ks_figures *figures) {
    free(figures->shops);
    *figures = (ks_figures){0};
}
