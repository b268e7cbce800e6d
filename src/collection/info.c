/* SPDX-License-Identifier: Apache-2.0
 *
 * What a collection is, and how large. */
#include "base/grow.h"
#include "base/status.h"
#include "log/follow.h"
#include "match/match.h"
#include "state/generations.h"
#include "state/hot.h"
#include "state/pages.h"
#include "upkeep/seal.h"

#include <string.h>

static void add_segments(const kith_collection *collection, const ki_snapshot *snapshot, kith_collection_info *info) {
    info->segments = snapshot->sealed_count;
    for (size_t s = 0; s < snapshot->sealed_count; s++) {
        const ki_snapshot_sealed *in = &snapshot->sealed[s];
        info->own_segments += ki_split_group(collection, snapshot, s) != 0;
        info->segment_rows += in->alive->rows;
        info->dead_rows += in->alive->rows - in->alive->set;
        info->segment_bytes += in->sealed->disk_bytes;
        info->resident_bytes += ki_sealed_hot_bytes(in->sealed, 0);
        info->memory_bytes += in->alive->words * sizeof(uint64_t);
        for (size_t v = 0; v < snapshot->specs; v++)
            if (in->positions[v]) info->memory_bytes += in->positions[v]->words * sizeof(uint64_t);
    }
}

static void add_heads(const ki_snapshot *snapshot, kith_collection_info *info) {
    for (size_t h = 0; h < snapshot->head_count; h++) {
        info->head_rows += snapshot->head[h].live->set;
        info->head_memory_bytes += ki_head_memory_bytes(snapshot->head[h].head);
    }
    info->memory_bytes += info->head_memory_bytes + info->resident_bytes;
}

static void add_cache(const kith_collection *collection, kith_collection_info *info) {
    if (!collection->pages) return;
    const ki_cache_counts counts = ki_cache_count(collection->pages->cache);
    info->cache_bytes = counts.bytes;
    info->cache_hits = counts.hits;
    info->cache_misses = counts.misses;
    info->cache_evictions = counts.evictions;
    const ki_hot_counts profiles = ki_hot_count(collection->hot);
    info->profile_cache_bytes = profiles.bytes;
    info->profile_cache_hits = profiles.hits;
    info->profile_cache_misses = profiles.misses;
    info->memory_bytes += counts.bytes + profiles.bytes;
}

kith_status kith_collection_get_info(kith_collection *collection, kith_collection_info *given) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    uint64_t catalog_memory = 0;
    if (!collection || !given || ki_grown_check(KI_GROWN_COLLECTION_INFO, given, NULL) != KITH_OK) return KITH_E_ARG;
    /* As a read would see it; where that fails, as it was seen last. */
    (void)ki_collection_refresh(collection, NULL);
    (void)ki_collection_expire(collection, NULL);
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    info.id_kind = collection->made.id_kind;
    info.read_only = collection->options.read_only != 0;
    info.items = snapshot->items;
    info.version = snapshot->version;
    info.vectors = collection->made.vector_count;
    info.fields = snapshot->schema->count;
    add_segments(collection, snapshot, &info);
    add_heads(snapshot, &info);
    const ki_generations *generations = snapshot->generations; /* which live as long as the collection */
    ki_snapshot_release(snapshot);
    ki_catalog_sizes(collection->catalog, &info.catalog_bytes, &catalog_memory);
    info.memory_bytes += catalog_memory + ki_match_cache_bytes(collection->matches);
    add_cache(collection, &info);
    info.disk_bytes = info.catalog_bytes + info.segment_bytes;
    info.segment_field = collection->made.segment_field;
    info.model = ki_generations_current(generations)->model;
    info.generation = generations->current;
    info.generations = (uint32_t)generations->count;
    info.work = info.trouble = "";
    ki_maintain_info(collection, &info);
    ki_grown_write(KI_GROWN_COLLECTION_INFO, &info, given);
    return KITH_OK;
}

kith_status kith_collection_vector(const kith_collection *collection, size_t number, kith_vector_spec *spec) {
    if (!collection || !spec) return KITH_E_ARG;
    if (number >= collection->made.vector_count) return KITH_E_NOTFOUND;
    const ki_generations *generations = ki_collection_generations(collection);
    *spec = generations->spec[ki_generations_current(generations)->slot[number]];
    return KITH_OK;
}

kith_status kith_collection_field(kith_collection *collection, size_t number, kith_field *field) {
    if (!collection || !field) return KITH_E_ARG;
    ki_snapshot *snapshot = ki_snapshot_pin(collection);
    const ki_schema *schema = snapshot->schema; /* lives as long as the collection */
    ki_snapshot_release(snapshot);
    if (number >= schema->count) return KITH_E_NOTFOUND;
    *field = (kith_field){.name = schema->fields[number].name, .type = schema->fields[number].type};
    return KITH_OK;
}
