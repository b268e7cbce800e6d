/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading items without searching: by their ids, in order, or how many there are.
 *
 * An item is there if it lives in the snapshot that was taken when the call began. */
#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "collection/result.h"
#include "log/follow.h"
#include "match/match.h"
#include "write/request.h"

#include <stdlib.h>
#include <string.h>

/* The current state, held; NULL on failure. */
static ki_snapshot *take_state(kith_collection *collection, kith_status *status, kith_error *error) {
    *status = ki_collection_refresh(collection, error);
    if (*status == KITH_OK) *status = ki_collection_expire(collection, error);
    return *status == KITH_OK ? ki_snapshot_pin(collection) : NULL;
}

/* Where an item of `ids` lives; *there: whether it does. */
static kith_status find(kith_collection *collection, const ki_snapshot *snapshot, const kith_ids *ids, size_t item,
                        uint64_t *key, ki_place *place, int *there, kith_error *error) {
    *there = 0;
    if (collection->made.id_kind == KITH_ID_STRING) {
        const kith_status status = ki_catalog_find_text(collection->catalog, ki_ids_text(ids, item), key, error);
        if (status == KITH_E_NOTFOUND) return KITH_OK;
        if (status != KITH_OK) return status;
    } else {
        *key = ids->ids[item];
    }
    *there = ki_snapshot_find(snapshot, *key, place);
    return KITH_OK;
}

/* ---- By id ------------------------------------------------------------------------------------------------------- */

static kith_status put_items(kith_collection *collection, const ki_snapshot *snapshot, const kith_ids *ids,
                             kith_result *result, kith_error *error) {
    kith_status status = ki_result_open(result, collection, snapshot->sealed_count ? ids->count : 0, error);
    for (size_t i = 0; i < ids->count && status == KITH_OK; i++) {
        uint64_t key;
        ki_place place;
        int there;
        status = find(collection, snapshot, ids, i, &key, &place, &there, error);
        if (status == KITH_OK && there) status = ki_result_put(result, collection, snapshot, key, &place, 0, error);
    }
    ki_result_shut(result, collection);
    return status == KITH_OK ? ki_result_end_query(result, error) : status;
}

kith_status kith_collection_get(kith_collection *collection, const kith_ids *ids, unsigned with, kith_result *result,
                                kith_error *error) {
    if (!collection || !ids || !result) return ki_fail(error, KITH_E_ARG, "kith_collection_get: an argument is NULL");
    return kith_collection_generation_get(collection, 0, ids, with, result, error);
}

kith_status kith_collection_generation_get(kith_collection *collection, uint32_t number, const kith_ids *ids,
                                           unsigned with, kith_result *result, kith_error *error) {
    const ki_generation *generation = NULL;
    if (!collection || !ids || !result)
        return ki_fail(error, KITH_E_ARG, "kith_collection_generation_get: an argument is NULL");
    kith_status status = ki_ids_check(&collection->made, ids, error);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = take_state(collection, &status, error);
    if (!snapshot) return status;
    status = ki_generations_get(snapshot->generations, number, &generation, error);
    if (status == KITH_OK) status = ki_result_begin(result, snapshot->generations, generation, with, 0, error);
    if (status == KITH_OK) status = put_items(collection, snapshot, ids, result, error);
    if (status != KITH_OK) ki_result_forget(result);
    ki_snapshot_release(snapshot);
    return status;
}

kith_status kith_collection_exists(kith_collection *collection, const kith_ids *ids, uint8_t *exists,
                                   kith_error *error) {
    if (!collection || !ids || !exists)
        return ki_fail(error, KITH_E_ARG, "kith_collection_exists: an argument is NULL");
    kith_status status = ki_ids_check(&collection->made, ids, error);
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = take_state(collection, &status, error);
    if (!snapshot) return status;
    uint8_t *found = ki_alloc_array(ids->count, 1);
    if (!found) status = ki_fail(error, KITH_E_NOMEM, "out of memory for %zu ids", ids->count);
    for (size_t i = 0; i < ids->count && status == KITH_OK; i++) {
        uint64_t key;
        ki_place place;
        int there;
        status = find(collection, snapshot, ids, i, &key, &place, &there, error);
        if (status == KITH_OK) found[i] = (uint8_t)there;
    }
    if (status == KITH_OK && ids->count) memcpy(exists, found, ids->count);
    free(found);
    ki_snapshot_release(snapshot);
    return status;
}

/* ---- By filter --------------------------------------------------------------------------------------------------- */

kith_status kith_collection_count(kith_collection *collection, const char *filter, uint64_t *count, kith_error *error) {
    kith_status status;
    ki_match *match = NULL;
    if (!collection || !count) return ki_fail(error, KITH_E_ARG, "kith_collection_count: an argument is NULL");
    ki_snapshot *snapshot = take_state(collection, &status, error);
    if (!snapshot) return status;
    if (filter) status = ki_match_create(collection, snapshot, filter, NULL, &match, error);
    if (status == KITH_OK) *count = match ? ki_match_count(match) : snapshot->items;
    ki_match_destroy(match);
    ki_snapshot_release(snapshot);
    return status;
}

/* ---- In order -------------------------------------------------------------------------------------------------------
 *
 * Keys come from as many runs as there are segments and heads: a segment's table is in order of keys, the first of a
 * head's live rows are sorted. The least of what the runs offer is the next item; a key lives in one of them only. */

enum { SCROLL_DEFAULT = 100 };

typedef struct run {
    const uint64_t *keys;
    const uint32_t *serials; /* of a head, beside keys; NULL: rows of a table are their own numbers */
    const ki_bits *bits;     /* of a table: rows that are let through */
    size_t at, count;
    uint64_t *owned_keys;
    uint32_t *owned_serials;
} run;

struct keyed {
    uint64_t key;
    uint32_t serial;
};

static int by_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

/* The first place whose key is beyond `after`. */
static size_t place_after(const uint64_t *keys, size_t count, uint64_t after) {
    size_t low = 0, high = count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (keys[middle] <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void begin_table(const ki_sealed *sealed, const ki_bits *bits, const kith_scroll *scroll, run *to) {
    const size_t rows = (size_t)ki_table_rows(sealed->table);
    *to = (run){.keys = ki_table_keys(sealed->table), .bits = bits, .count = rows};
    if (!scroll->from_start) to->at = place_after(to->keys, rows, scroll->after);
}

/* Sort what is gathered and keep the first `limit`. */
static size_t keep_first(struct keyed *rows, size_t count, size_t limit) {
    qsort(rows, count, sizeof(*rows), by_key);
    return ki_min_size(count, limit);
}

/* The first live rows of a head beyond `after`, at most `limit`, sorted. Twice as many are gathered before they are
 * sorted and half of them forgotten. */
static size_t gather(const ki_head *head, const ki_bits *bits, const kith_scroll *scroll, size_t limit,
                     struct keyed *rows) {
    size_t count = 0;
    for (uint64_t w = 0; w * 64 < bits->rows; w++)
        for (uint64_t word = bits->word[w]; word; word &= word - 1) {
            const uint32_t serial = (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(word));
            const uint64_t key = ki_head_key(head, serial);
            if (!scroll->from_start && key <= scroll->after) continue;
            rows[count++] = (struct keyed){key, serial};
            if (count == 2 * limit) count = keep_first(rows, count, limit);
        }
    return keep_first(rows, count, limit);
}

static int begin_head(const ki_head *head, const ki_bits *bits, const kith_scroll *scroll, size_t limit, run *to) {
    struct keyed *rows = ki_alloc_array(ki_min_u64(bits->set + 1, 2 * limit), sizeof(*rows));
    *to = (run){.owned_keys = ki_alloc_array(ki_min_u64(bits->set, limit), sizeof(uint64_t)),
                .owned_serials = ki_alloc_array(ki_min_u64(bits->set, limit), sizeof(uint32_t))};
    const int made = rows && to->owned_keys && to->owned_serials;
    if (made) to->count = gather(head, bits, scroll, limit, rows);
    for (size_t i = 0; i < to->count; i++) to->owned_keys[i] = rows[i].key, to->owned_serials[i] = rows[i].serial;
    free(rows);
    to->keys = to->owned_keys;
    to->serials = to->owned_serials;
    return made;
}

/* Step over rows of a table that are not let through. */
static int offers(run *r) {
    while (r->at < r->count && r->bits && !ki_bits_get(r->bits, r->at)) r->at++;
    return r->at < r->count;
}

static kith_status put_in_order(kith_collection *collection, const ki_snapshot *snapshot, run *runs, size_t limit,
                                kith_result *result, kith_error *error) {
    const size_t count = snapshot->sealed_count + snapshot->head_count;
    kith_status status = ki_result_open(result, collection, snapshot->sealed_count ? limit : 0, error);
    for (size_t taken = 0; taken < limit && status == KITH_OK; taken++) {
        size_t least = count;
        for (size_t i = 0; i < count; i++)
            if (offers(&runs[i]) && (least == count || runs[i].keys[runs[i].at] < runs[least].keys[runs[least].at]))
                least = i;
        if (least == count) break;
        const run *r = &runs[least];
        const ki_place place = r->serials ? (ki_place){SIZE_MAX, least - snapshot->sealed_count, r->serials[r->at]}
                                          : (ki_place){least, SIZE_MAX, (uint32_t)r->at};
        status = ki_result_put(result, collection, snapshot, r->keys[r->at], &place, 0, error);
        runs[least].at++;
    }
    ki_result_shut(result, collection);
    return status == KITH_OK ? ki_result_end_query(result, error) : status;
}

static kith_status scroll_runs(kith_collection *collection, ki_snapshot *snapshot, const kith_scroll *scroll,
                               const ki_match *match, kith_result *result, kith_error *error) {
    const size_t tables = snapshot->sealed_count, count = tables + snapshot->head_count;
    const size_t limit = scroll->limit ? scroll->limit : SCROLL_DEFAULT;
    run *runs = ki_alloc_array_zeroed(count, sizeof(*runs));
    int made = runs != NULL;
    for (size_t s = 0; s < tables && made; s++) {
        const ki_bits *bits = match ? ki_match_rows(match, s) : NULL;
        begin_table(snapshot->sealed[s].sealed, bits ? bits : snapshot->sealed[s].alive, scroll, &runs[s]);
    }
    for (size_t h = 0; h < snapshot->head_count && made; h++) {
        const ki_bits *bits = match ? ki_match_serials(match, h) : NULL;
        made =
            begin_head(snapshot->head[h].head, bits ? bits : snapshot->head[h].live, scroll, limit, &runs[tables + h]);
    }
    const kith_status status = made ? put_in_order(collection, snapshot, runs, limit, result, error)
                                    : ki_fail(error, KITH_E_NOMEM, "out of memory for a scroll");
    for (size_t i = 0; runs && i < count; i++) {
        free(runs[i].owned_keys);
        free(runs[i].owned_serials);
    }
    free(runs);
    return status;
}

kith_status kith_collection_scroll(kith_collection *collection, const kith_scroll *given, kith_result *result,
                                   kith_error *error) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    ki_match *match = NULL;
    if (!collection || !result) return ki_fail(error, KITH_E_ARG, "kith_collection_scroll: an argument is NULL");
    kith_status status = ki_grown_read(KI_GROWN_SCROLL, given, &scroll, error);
    if (status == KITH_OK && scroll.limit > KITH_K_MAX)
        status = ki_fail(error, KITH_E_ARG, "limit is %zu: 1 to %u are possible", scroll.limit, KITH_K_MAX);
    if (status == KITH_OK && scroll.reserved) status = ki_fail(error, KITH_E_ARG, "scroll: a reserved member is set");
    if (status != KITH_OK) return status;
    ki_snapshot *snapshot = take_state(collection, &status, error);
    if (!snapshot) return status;
    const ki_generation *generation = NULL;
    status = ki_generations_get(snapshot->generations, scroll.generation, &generation, error);
    if (status == KITH_OK) status = ki_result_begin(result, snapshot->generations, generation, scroll.with, 0, error);
    if (status == KITH_OK && scroll.filter)
        status = ki_match_create(collection, snapshot, scroll.filter, NULL, &match, error);
    if (status == KITH_OK) status = scroll_runs(collection, snapshot, &scroll, match, result, error);
    if (status != KITH_OK) ki_result_forget(result);
    ki_match_destroy(match);
    ki_snapshot_release(snapshot);
    return status;
}
