/* SPDX-License-Identifier: Apache-2.0
 *
 * How a load takes its place: one edit and one transaction of the catalog, which writers wait for. Rows of the same
 * keys that live elsewhere are found by walking along both ascending lists of keys. Everything under `writing`, which
 * ki_load_commit takes. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "load/load.h"
#include "log/follow.h"
#include "log/log.h"
#include "state/generations.h"
#include "write/bodies.h"
#include "write/commit.h"

/* What the transaction does. */
struct change {
    ki_load *load;
    ki_edit *edit;
    uint64_t version;
    ki_bodies bodies;
    uint64_t *doomed; /* keys of items whose string ids get another number */
    size_t doomed_count, doomed_room;
};

static uint64_t key_at(const ki_load *load, uint64_t place) {
    return load->key[load->order[place]];
}

/* ---- What was there ---------------------------------------------------------------------------------------------- */

static kith_status refuse(const ki_load *load, uint64_t place, kith_error *error) {
    char text[KI_LOAD_ROW_TEXT];
    size_t bytes = 0;
    const char *id = load->sealed ? ki_table_text(load->sealed->table, (uint32_t)place, &bytes) : NULL;
    if (bytes)
        return ki_fail(error, KITH_E_DATA, "%s (id \"%.*s\"): is there already",
                       ki_load_row_text(load, load->order[place], text), (int)ki_min_size(bytes, 64), id);
    return ki_fail(error, KITH_E_DATA, "%s: is there already", ki_load_row_text(load, load->order[place], text));
}

/* The first place whose key is not below; searched from `from` on in steps that double. */
static uint64_t place_of(const ki_load *load, uint64_t from, uint64_t key) {
    uint64_t step = 1, low = from;
    while (low + step < load->rows && key_at(load, low + step) < key) {
        low += step;
        step *= 2;
    }
    uint64_t high = ki_min_u64(low + step, load->rows);
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (key_at(load, middle) < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int has_key(const ki_load *load, uint64_t key, uint64_t *place) {
    *place = place_of(load, 0, key);
    return *place < load->rows && key_at(load, *place) == key;
}

/* The first row of a table from `from` on whose key is not below, likewise. */
static uint64_t row_of(const uint64_t *keys, uint64_t rows, uint64_t from, uint64_t key) {
    uint64_t step = 1, low = from;
    while (low + step < rows && keys[low + step] < key) {
        low += step;
        step *= 2;
    }
    uint64_t high = ki_min_u64(low + step, rows);
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Called for each living row of a state whose key is loaded; its place in the order of keys. */
typedef kith_status (*known_fn)(void *context, uint64_t key, uint64_t place, kith_error *error);

/* In one segment; its bits are another set once a row of them died. */
static kith_status each_known_in(const ki_load *load, const ki_snapshot_sealed *in, known_fn fn, void *context,
                                 kith_error *error) {
    const uint64_t *keys = ki_table_keys(in->sealed->table), rows = ki_table_rows(in->sealed->table);
    kith_status status = KITH_OK;
    uint64_t row = 0, place = 0;
    while (row < rows && status == KITH_OK) {
        place = place_of(load, place, keys[row]);
        if (place == load->rows) break;
        const uint64_t key = key_at(load, place);
        row = row_of(keys, rows, row, key);
        if (row == rows || keys[row] != key) continue;
        if (ki_bits_get(in->alive, row)) status = fn(context, key, place, error);
        row++;
    }
    return status;
}

static kith_status each_known(const ki_load *load, const ki_snapshot *state, known_fn fn, void *context,
                              kith_error *error) {
    kith_status status = KITH_OK;
    uint64_t place = 0;
    for (size_t s = 0; s < state->sealed_count && status == KITH_OK; s++)
        status = each_known_in(load, &state->sealed[s], fn, context, error);
    for (size_t h = 0; h < state->head_count && status == KITH_OK; h++)
        for (size_t serial = 0; serial < state->head[h].count && status == KITH_OK; serial++) {
            const uint64_t key = ki_head_key(state->head[h].head, (uint32_t)serial);
            if (ki_bits_get(state->head[h].live, serial) && has_key(load, key, &place))
                status = fn(context, key, place, error);
        }
    return status;
}

static kith_status refuse_one(void *context, uint64_t key, uint64_t place, kith_error *error) {
    (void)key;
    return refuse(context, place, error);
}

kith_status ki_load_refuse_known(const ki_load *load, kith_error *error) {
    ki_snapshot *snapshot = ki_snapshot_pin(load->collection);
    ki_load *known = (ki_load *)(uintptr_t)load; /* a context that is only read */
    const kith_status status = each_known(load, snapshot, refuse_one, known, error);
    ki_snapshot_release(snapshot);
    return status;
}

static kith_status replace_one(void *context, uint64_t key, uint64_t place, kith_error *error) {
    struct change *change = context;
    int was = 0;
    if (change->load->options.mode == KITH_INSERT) return refuse(change->load, place, error);
    const kith_status status = ki_edit_kill(change->edit, key, &was, error);
    if (status == KITH_OK && was) change->load->report.replaced++;
    return status;
}

/* A string that somebody else wrote meanwhile has another number by now: that item goes. */
static kith_status find_doomed(struct change *change, kith_error *error) {
    const ki_load *load = change->load;
    kith_status status = KITH_OK;
    for (uint64_t place = 0; place < load->rows && status == KITH_OK; place++) {
        uint64_t key = 0;
        int was = 0;
        ki_bytes text = {0};
        text.data = ki_table_text(load->sealed->table, (uint32_t)place, &text.bytes);
        status = ki_catalog_find_text(load->collection->catalog, text, &key, error);
        if (status == KITH_E_NOTFOUND || (status == KITH_OK && key == key_at(load, place))) {
            status = KITH_OK;
            continue;
        }
        if (status == KITH_OK) status = ki_edit_kill(change->edit, key, &was, error);
        if (status == KITH_OK && was && load->options.mode == KITH_INSERT) status = refuse(load, place, error);
        change->load->report.replaced += status == KITH_OK && was;
        void *doomed = change->doomed;
        if (status == KITH_OK &&
            !ki_array_reserve(&doomed, &change->doomed_room, change->doomed_count + 1, sizeof(*change->doomed)))
            status = ki_fail(error, KITH_E_NOMEM, "out of memory for a load");
        change->doomed = doomed;
        if (status == KITH_OK) change->doomed[change->doomed_count++] = key;
    }
    return status;
}

/* ---- The transaction --------------------------------------------------------------------------------------------- */

static kith_status put_items(const struct change *change, kith_error *error) {
    const ki_load *load = change->load;
    kith_status status = KITH_OK;
    for (uint64_t place = 0; place < load->rows && status == KITH_OK; place++) {
        const uint64_t row = load->order[place], begin = load->end && row ? load->end[row - 1] : 0;
        ki_catalog_item item = {
            .key = load->key[row], .version = change->version, .expires_ms = load->options.expires_ms};
        item.text.data = ki_table_text(load->sealed->table, (uint32_t)place, &item.text.bytes);
        if (load->end) item.payload = (ki_bytes){load->payload + begin, (size_t)(load->end[row] - begin)};
        status = ki_catalog_put_item(load->collection->catalog, &item, error);
        if (status == KITH_OK && place % 4096 == 0) status = ki_load_tell(load, "committing", place, error);
    }
    return status;
}

/* The log may hold what made the doomed items: now it also says that they are gone. */
static kith_status log_doomed(kith_collection *collection, const struct change *change, kith_error *error) {
    ki_log_body body = {.generations = collection->current->generations};
    if (change->doomed_count > KITH_ITEMS_MAX)
        return ki_fail(error, KITH_E_BUSY, "%zu ids were written by others while they were loaded: load again",
                       change->doomed_count);
    kith_status status = ki_log_begin(&body, change->version, error);
    for (size_t d = 0; d < change->doomed_count && status == KITH_OK; d++)
        status = ki_log_add(&body, &(ki_log_operation){.kind = KI_LOG_REMOVE, .key = change->doomed[d]}, error);
    if (status == KITH_OK) status = ki_log_end(&body, collection->next_key, error);
    if (status == KITH_OK)
        status = ki_catalog_append_log(collection->catalog, change->version, (ki_bytes){body.data, body.bytes}, error);
    ki_log_free(&body);
    return status;
}

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const struct change *change = context;
    kith_status status = ki_bodies_put(&change->bodies, collection->catalog, error);
    if (status == KITH_OK && change->doomed_count) status = log_doomed(collection, change, error);
    for (size_t d = 0; d < change->doomed_count && status == KITH_OK; d++)
        status = ki_catalog_remove_item(collection->catalog, change->doomed[d], error);
    return status == KITH_OK ? put_items(change, error) : status;
}

/* A generation that was dropped while its vectors were built has no place for them any more. */
static kith_status check_slots(const ki_load *load, const ki_generations *now, kith_error *error) {
    for (size_t s = 0; s < load->sources; s++) {
        const size_t slot = load->source[s].spec;
        if (!ki_generations_uses(now, slot) || now->tenant[slot] != load->generations->tenant[slot])
            return ki_fail(error, KITH_E_BUSY, "generation %u was dropped while its vectors were loaded",
                           (unsigned)load->generations->current);
    }
    return KITH_OK;
}

static kith_status edit(struct change *change, kith_error *error) {
    ki_load *load = change->load;
    const ki_snapshot *state = ki_edit_state(change->edit);
    const uint64_t expires_ms = load->options.expires_ms, next_ms = state->next_expiry_ms;
    kith_status status = check_slots(load, state->generations, error);
    if (status == KITH_OK) status = each_known(load, state, replace_one, change, error);
    if (status == KITH_OK && load->collection->made.id_kind == KITH_ID_STRING) status = find_doomed(change, error);
    ki_bits *alive = status == KITH_OK ? ki_bits_create(load->rows, 1) : NULL;
    if (status == KITH_OK && !alive) status = ki_fail(error, KITH_E_NOMEM, "out of memory for a load");
    if (status == KITH_OK) status = ki_edit_add_sealed(change->edit, load->sealed, alive, error);
    if (status == KITH_OK) ki_edit_copy_hot(change->edit, load->sealed);
    if (status != KITH_OK) return status;
    ki_edit_touch_all(change->edit);
    if (expires_ms && (!next_ms || expires_ms < next_ms)) ki_edit_set_next_expiry(change->edit, expires_ms);
    return ki_bodies_encode(state, load->sealed, 1, change->version, &change->bodies, error);
}

/* `writing` is held. */
static kith_status commit(ki_load *load, kith_error *error) {
    kith_collection *collection = load->collection;
    struct change change = {.load = load, .version = collection->version + 1};
    load->report.replaced = 0;
    kith_status status = ki_edit_begin(collection, &change.edit, error);
    if (status == KITH_OK) {
        status = edit(&change, error);
        if (status == KITH_OK)
            status = ki_commit_version(collection, change.edit, put, &change, error);
        else
            ki_edit_abandon(change.edit);
    }
    if (status == KITH_OK) {
        ki_bodies_settle(&change.bodies);
        load->report.version = change.version;
        load->report.inserted = load->rows - load->report.replaced;
    }
    ki_bodies_free(&change.bodies);
    free(change.doomed);
    return status;
}

kith_status ki_load_commit(ki_load *load, int *known, kith_error *error) {
    kith_collection *collection = load->collection;
    kith_status status = ki_collection_expire(collection, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&collection->writing);
    const uint64_t start_ns = ki_now_ns();
    status = commit(load, error);
    load->report.commit_ns = ki_now_ns() - start_ns;
    *known = status == KITH_OK || collection->poisoned == KITH_OK;
    pthread_mutex_unlock(&collection->writing);
    /* With relaxed durability the machine could forget what was committed, but not that the folder was moved away. */
    if (status == KITH_OK && collection->options.durability == KITH_DURABILITY_RELAXED)
        (void)!ki_catalog_sync(collection->catalog, NULL);
    return status;
}
