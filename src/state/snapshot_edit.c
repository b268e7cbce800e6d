/* SPDX-License-Identifier: Apache-2.0
 *
 * Editing: the writer's copy of the current snapshot, changed and published.
 *
 * The copy shares what it does not change. Bits are cloned at their first change by an edit, so that a thousand rows
 * killed in a segment cost one clone. The live bits of the head that grows are cloned with room for more rows, which
 * doubles. An operation takes the memory that it needs before it changes anything: one that fails leaves the edit as it
 * was. */
#include "base/checked.h"
#include "base/status.h"
#include "state/generations.h"
#include "state/pages.h"
#include "state/snapshot.h"

#include <string.h>

enum { HEAD_BYTES = 16 << 20, ROW_BYTES = 64, HEAD_ROWS_LEAST = 64, HEAD_ROWS_MOST = 1 << 22, ROOM_LEAST = 64 };

/* Which bits of a segment or head are this edit's own. */
struct own {
    int bits;      /* alive, or live */
    int positions; /* of all slots */
    uint64_t room; /* of live bits */
};

struct ki_edit {
    kith_collection *collection;
    ki_snapshot *state;
    ki_head *grew; /* the head that grew when the edit began, held: cut back to `count` if it is abandoned */
    size_t count;
    int begun;                     /* its changes are noted (touched.c) */
    size_t sealed_room, head_room; /* of the state's arrays */
    struct own *sealed, *head;     /* beside them */
};

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a change of the collection");
}

/* ---- Arrays of the state ----------------------------------------------------------------------------------------- */

/* Make room for one more in one of the state's arrays and the array of what is owned of it; 0: no memory. */
static int reserve(void **array, struct own **own, size_t *room, size_t count, size_t size) {
    if (count < *room) return 1;
    const size_t wanted = count + 4;
    void *grown = ki_alloc_array(wanted, size);
    struct own *owned = ki_alloc_array_zeroed(wanted, sizeof(*owned));
    if (!grown || !owned) {
        free(grown);
        free(owned);
        return 0;
    }
    if (count) memcpy(grown, *array, count * size);
    if (count && *own) memcpy(owned, *own, count * sizeof(*owned));
    free(*array);
    free(*own);
    *array = grown;
    *own = owned;
    *room = wanted;
    return 1;
}

static int reserve_sealed(ki_edit *edit) {
    void *array = edit->state->sealed;
    const int done =
        reserve(&array, &edit->sealed, &edit->sealed_room, edit->state->sealed_count, sizeof(ki_snapshot_sealed));
    edit->state->sealed = array;
    return done;
}

static int reserve_head(ki_edit *edit) {
    void *array = edit->state->head;
    const int done = reserve(&array, &edit->head, &edit->head_room, edit->state->head_count, sizeof(ki_snapshot_head));
    edit->state->head = array;
    return done;
}

/* ---- Beginning --------------------------------------------------------------------------------------------------- */

/* Rows of a new head: vectors of head_bytes, and a little for what else rows take. */
static size_t head_rows(const kith_collection *collection, const ki_generations *generations) {
    const uint64_t bytes = collection->options.head_bytes ? collection->options.head_bytes : HEAD_BYTES;
    uint64_t row = ROW_BYTES;
    for (size_t s = 0; s < generations->slots; s++)
        if (ki_generations_uses(generations, s)) row += generations->vector[s].row_bytes;
    const uint64_t rows = bytes / row;
    return rows < HEAD_ROWS_LEAST ? HEAD_ROWS_LEAST : (size_t)ki_min_u64(rows, HEAD_ROWS_MOST);
}

/* Put an empty head behind the others; room was reserved. */
static kith_status add_head(ki_edit *edit, kith_error *error) {
    ki_snapshot *state = edit->state;
    const ki_generations *generations = state->generations;
    kith_vector_spec spec[KITH_VECTORS_MAX] = {0};
    ki_head *head = NULL;
    if (!reserve_head(edit)) return no_memory(error);
    ki_bits *live = ki_bits_create(0, 0);
    if (!live) return no_memory(error);
    for (size_t s = 0; s < generations->slots; s++)
        if (ki_generations_uses(generations, s)) spec[s] = generations->spec[s];
    const kith_status status =
        ki_head_create(spec, generations->slots, state->schema, head_rows(edit->collection, generations), &head, error);
    if (status != KITH_OK) {
        ki_bits_release(live);
        return status;
    }
    edit->head[state->head_count] = (struct own){.bits = 1};
    state->head[state->head_count++] = (ki_snapshot_head){head, 0, live};
    return KITH_OK;
}

/* Share a segment of the old state; 0: no memory. */
static int share_sealed(const ki_snapshot_sealed *old, size_t specs, ki_snapshot_sealed *to) {
    ki_bits **positions = ki_alloc_array_zeroed(specs, sizeof(*positions));
    if (!positions) return 0;
    for (size_t s = 0; s < specs; s++)
        if (old->positions[s]) positions[s] = ki_bits_hold(old->positions[s]);
    *to = (ki_snapshot_sealed){ki_sealed_hold(old->sealed), ki_bits_hold(old->alive), positions};
    return 1;
}

static int share_all(ki_edit *edit, const ki_snapshot *old) {
    ki_snapshot *state = edit->state;
    state->version = old->version;
    state->generation = old->generation;
    state->items = old->items;
    state->next_expiry_ms = old->next_expiry_ms;
    state->schema = old->schema;
    state->generations = old->generations;
    state->specs = old->specs;
    for (size_t i = 0; i < old->sealed_count; i++) {
        if (!reserve_sealed(edit) || !share_sealed(&old->sealed[i], old->specs, &state->sealed[i])) return 0;
        state->sealed_count++;
    }
    for (size_t i = 0; i < old->head_count; i++) {
        if (!reserve_head(edit)) return 0;
        state->head[i] =
            (ki_snapshot_head){ki_head_hold(old->head[i].head), old->head[i].count, ki_bits_hold(old->head[i].live)};
        state->head_count++;
    }
    return 1;
}

kith_status ki_edit_begin(kith_collection *collection, ki_edit **edit, kith_error *error) {
    const ki_snapshot *old = collection->current; /* none but the writer replaces it (N4) */
    kith_status status = KITH_OK;
    ki_edit *made = ki_alloc_array_zeroed(1, sizeof(*made));
    ki_snapshot *state = ki_alloc_array_zeroed(1, sizeof(*state));
    if (!made || !state) {
        free(made);
        free(state);
        return no_memory(error);
    }
    atomic_init(&state->references, 1);
    state->generations = collection->generations[0];
    state->specs = state->generations->slots;
    made->collection = collection;
    made->state = state;
    if (old && !share_all(made, old)) status = no_memory(error);
    if (status == KITH_OK && state->head_count == 0) status = add_head(made, error);
    if (status != KITH_OK) {
        ki_edit_abandon(made);
        return status;
    }
    made->grew = ki_head_hold(state->head[state->head_count - 1].head);
    made->count = ki_head_count(made->grew);
    made->begun = 1;
    ki_touched_begin(collection->pages);
    *edit = made;
    return KITH_OK;
}

const ki_snapshot *ki_edit_state(const ki_edit *edit) {
    return edit->state;
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

int ki_edit_find(const ki_edit *edit, uint64_t key, ki_place *place) {
    const ki_snapshot *state = edit->state;
    for (size_t i = state->head_count; i-- > 0;) {
        uint32_t serial;
        if (!ki_head_find_writer(state->head[i].head, key, &serial) || !ki_bits_get(state->head[i].live, serial))
            continue;
        *place = (ki_place){SIZE_MAX, i, serial};
        return 1;
    }
    return ki_snapshot_find_sealed(state, key, place);
}

/* Bits of the edit's own in place of shared ones, once; 0: no memory. */
static int own_bits(ki_bits **bits, uint64_t room) {
    ki_bits *copy = ki_bits_copy_with_room(*bits, room);
    if (!copy) return 0;
    ki_bits_release(*bits);
    *bits = copy;
    return 1;
}

static int own_head(ki_edit *edit, size_t head) {
    if (edit->head[head].bits) return 1;
    return edit->head[head].bits = own_bits(&edit->state->head[head].live, 0);
}

static int own_sealed(ki_edit *edit, size_t number) {
    ki_snapshot_sealed *in = &edit->state->sealed[number];
    struct own *own = &edit->sealed[number];
    if (!own->bits && !(own->bits = own_bits(&in->alive, 0))) return 0;
    if (own->positions) return 1;
    ki_bits *copy[KITH_VECTORS_MAX] = {0};
    int done = 1;
    for (size_t s = 0; s < edit->state->specs && done; s++)
        if (in->positions[s]) done = (copy[s] = ki_bits_copy(in->positions[s])) != NULL;
    for (size_t s = 0; s < edit->state->specs; s++) {
        ki_bits_release(done ? in->positions[s] : copy[s]);
        if (done) in->positions[s] = copy[s];
    }
    return own->positions = done;
}

/* All that killing the row of a place needs; 0: no memory. */
static int own_place(ki_edit *edit, const ki_place *place) {
    return place->sealed != SIZE_MAX ? own_sealed(edit, place->sealed) : own_head(edit, place->head);
}

/* The row of a place, whose bits are the edit's own, lives no longer. */
static void kill_row(ki_edit *edit, const ki_place *place) {
    ki_snapshot *state = edit->state;
    ki_touched_place(edit->collection, state, place);
    state->items--;
    if (place->head != SIZE_MAX) {
        ki_bits_clear(state->head[place->head].live, place->row);
        return;
    }
    const ki_snapshot_sealed *in = &state->sealed[place->sealed];
    ki_bits_clear(in->alive, place->row);
    for (size_t s = 0; s < state->specs; s++) {
        uint32_t position;
        if (in->positions[s] && ki_sealed_row_position(in->sealed, s, place->row, &position))
            ki_bits_clear(in->positions[s], position);
    }
}

kith_status ki_edit_kill(ki_edit *edit, uint64_t key, int *was, kith_error *error) {
    ki_place place;
    const int found = ki_edit_find(edit, key, &place);
    if (found && !own_place(edit, &place)) return no_memory(error);
    if (found) kill_row(edit, &place);
    *was = found;
    return KITH_OK;
}

/* Room for one more row in the last head's live bits; 0: no memory. */
static int reserve_live(ki_edit *edit) {
    const size_t last = edit->state->head_count - 1;
    ki_snapshot_head *in = &edit->state->head[last];
    struct own *own = &edit->head[last];
    if (in->live->rows < own->room) return 1;
    const uint64_t rows = in->live->rows + 1, room = own->room ? 2 * rows : rows + ROOM_LEAST;
    if (!own_bits(&in->live, room)) return 0;
    *own = (struct own){.bits = 1, .room = room};
    return 1;
}

static kith_status next_head(ki_edit *edit, kith_error *error) {
    const ki_head *last = edit->state->head[edit->state->head_count - 1].head;
    return ki_head_count(last) < ki_head_capacity(last) ? KITH_OK : add_head(edit, error);
}

kith_status ki_edit_append(ki_edit *edit, const ki_head_row *row, int *replaced, kith_error *error) {
    ki_snapshot *state = edit->state;
    ki_place place;
    const int found = ki_edit_find(edit, row->key, &place);
    kith_status status = next_head(edit, error);
    if (status != KITH_OK) return status;
    if ((found && !own_place(edit, &place)) || !reserve_live(edit)) return no_memory(error);
    ki_snapshot_head *last = &state->head[state->head_count - 1];
    status = ki_head_append(last->head, row, error);
    if (status != KITH_OK) return status;
    if (found) kill_row(edit, &place);
    last->count = ki_head_count(last->head);
    last->live->rows = last->count;
    ki_bits_put(last->live, last->count - 1);
    state->items++;
    ki_touched_values(edit->collection, ki_head_schema(last->head), row->values);
    if (row->expires_ms && (!state->next_expiry_ms || row->expires_ms < state->next_expiry_ms))
        state->next_expiry_ms = row->expires_ms;
    *replaced = found;
    return KITH_OK;
}

void ki_edit_set_next_expiry(ki_edit *edit, uint64_t next_expiry_ms) {
    edit->state->next_expiry_ms = next_expiry_ms;
}

void ki_edit_touch_all(ki_edit *edit) {
    ki_touched_all(edit->collection->pages);
}

/* ---- Heads, segments, fields ------------------------------------------------------------------------------------- */

kith_status ki_edit_freeze(ki_edit *edit, kith_error *error) {
    return ki_head_count(edit->state->head[edit->state->head_count - 1].head) ? add_head(edit, error) : KITH_OK;
}

/* Take one out of an array of `count`, and what is owned of it. */
static void take_out(void *array, struct own *own, size_t *count, size_t at, size_t size) {
    --*count;
    memmove((char *)array + at * size, (char *)array + (at + 1) * size, (*count - at) * size);
    memmove(own + at, own + at + 1, (*count - at) * sizeof(*own));
}

static void take_out_head(ki_edit *edit, size_t at) {
    ki_snapshot *state = edit->state;
    const ki_snapshot_head gone = state->head[at];
    take_out(state->head, edit->head, &state->head_count, at, sizeof(gone));
    state->items -= gone.live->set;
    ki_bits_release(gone.live);
    ki_head_release(gone.head);
}

kith_status ki_edit_remove_head(ki_edit *edit, const ki_head *head, kith_error *error) {
    for (size_t i = 0; i + 1 < edit->state->head_count; i++)
        if (edit->state->head[i].head == head) {
            take_out_head(edit, i);
            return KITH_OK;
        }
    return ki_fail(error, KITH_E_ARG, "ki_edit_remove_head: no frozen head of this collection");
}

/* Where a segment is in the state. */
static kith_status place_of(const ki_edit *edit, uint64_t number, size_t *at, kith_error *error) {
    for (*at = 0; *at < edit->state->sealed_count; ++*at)
        if (edit->state->sealed[*at].sealed->number == number) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "a change of the collection: it has no segment %llu", (unsigned long long)number);
}

kith_status ki_edit_remove_sealed(ki_edit *edit, uint64_t number, kith_error *error) {
    ki_snapshot *state = edit->state;
    size_t at;
    const kith_status status = place_of(edit, number, &at, error);
    if (status != KITH_OK) return status;
    ki_snapshot_sealed gone = state->sealed[at];
    take_out(state->sealed, edit->sealed, &state->sealed_count, at, sizeof(gone));
    state->items -= gone.alive->set;
    state->generation++;
    ki_snapshot_release_sealed(&gone, state->specs);
    return KITH_OK;
}

kith_status ki_edit_take_rows(ki_edit *edit, uint64_t number, const ki_bits *rows, ki_bits *const *positions,
                              kith_error *error) {
    ki_snapshot *state = edit->state;
    size_t at;
    const kith_status status = place_of(edit, number, &at, error);
    if (status != KITH_OK) return status;
    if (!own_sealed(edit, at)) return no_memory(error);
    const ki_snapshot_sealed *in = &state->sealed[at];
    state->items -= ki_bits_take(in->alive, rows);
    for (size_t s = 0; s < in->sealed->specs; s++)
        if (in->positions[s] && positions[s]) (void)ki_bits_take(in->positions[s], positions[s]);
    state->generation++;
    return KITH_OK;
}

/* Which positions of each index live; 0: no memory. */
static int fill_positions(const ki_sealed *sealed, const ki_bits *alive, size_t specs, ki_bits **positions) {
    for (size_t s = 0; s < specs; s++)
        if (sealed->index[s] && !(positions[s] = ki_sealed_positions(sealed, s, alive))) return 0;
    return 1;
}

kith_status ki_edit_add_sealed(ki_edit *edit, ki_sealed *sealed, ki_bits *alive, kith_error *error) {
    ki_snapshot *state = edit->state;
    ki_snapshot_sealed added = {ki_sealed_hold(sealed), alive,
                                ki_alloc_array_zeroed(state->specs, sizeof(*added.positions))};
    if (!added.positions || !reserve_sealed(edit) || !fill_positions(sealed, alive, state->specs, added.positions)) {
        ki_snapshot_release_sealed(&added, state->specs);
        return no_memory(error);
    }
    size_t at = state->sealed_count++;
    for (; at > 0 && state->sealed[at - 1].sealed->number > sealed->number; at--) {
        state->sealed[at] = state->sealed[at - 1];
        edit->sealed[at] = edit->sealed[at - 1];
    }
    state->sealed[at] = added;
    edit->sealed[at] = (struct own){0};
    state->items += alive->set;
    state->generation++;
    return KITH_OK;
}

void ki_edit_copy_hot(ki_edit *edit, ki_sealed *sealed) {
    const ki_snapshot *state = edit->state;
    uint64_t room = edit->collection->options.resident_bytes;
    for (size_t i = 0; i < state->sealed_count && room; i++)
        room -= ki_min_u64(room, ki_sealed_hot_bytes(state->sealed[i].sealed, 1));
    ki_sealed_copy_hot(sealed, room);
}

kith_status ki_edit_schema(ki_edit *edit, const ki_schema *schema, kith_error *error) {
    ki_snapshot *state = edit->state;
    const ki_schema *old = state->schema;
    const size_t last = state->head_count - 1;
    state->schema = schema;
    ki_edit_touch_all(edit); /* filters mean something else now */
    const kith_status status = add_head(edit, error);
    if (status != KITH_OK)
        state->schema = old;
    else if (ki_head_count(state->head[last].head) == 0)
        take_out_head(edit, last);
    return status;
}

/* Room for the positions of more slots in all segments; 0: no memory, and some have it. */
static int widen(ki_snapshot *state, size_t specs) {
    for (size_t i = 0; i < state->sealed_count; i++) {
        ki_bits **wide = ki_alloc_array_zeroed(specs, sizeof(*wide));
        if (!wide) return 0;
        memcpy(wide, state->sealed[i].positions, state->specs * sizeof(*wide));
        free(state->sealed[i].positions);
        state->sealed[i].positions = wide;
    }
    return 1;
}

static int head_fits(const ki_head *head, const ki_generations *generations) {
    for (size_t s = 0; s < generations->slots; s++)
        if (ki_generations_uses(generations, s) && !ki_head_takes(head, s, &generations->spec[s])) return 0;
    return 1;
}

kith_status ki_edit_generations(ki_edit *edit, const ki_generations *generations, kith_error *error) {
    ki_snapshot *state = edit->state;
    const ki_generations *old = state->generations;
    const size_t last = state->head_count - 1;
    kith_status status = KITH_OK;
    if (generations->slots > state->specs) {
        if (!widen(state, generations->slots)) return no_memory(error);
        state->specs = generations->slots;
    }
    state->generations = generations;
    /* A slot that is given to another generation: pages know it by its number. */
    if (memcmp(old->tenant, generations->tenant, sizeof(old->tenant)) != 0) ki_edit_touch_all(edit);
    if (head_fits(state->head[last].head, generations)) return KITH_OK;
    status = add_head(edit, error);
    if (status != KITH_OK)
        state->generations = old;
    else if (ki_head_count(state->head[last].head) == 0)
        take_out_head(edit, last);
    return status;
}

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static void end(ki_edit *edit) {
    ki_head_release(edit->grew);
    free(edit->sealed);
    free(edit->head);
    free(edit);
}

void ki_edit_publish(ki_edit *edit, uint64_t version) {
    kith_collection *collection = edit->collection;
    edit->state->version = version;
    edit->state->publication = collection->current ? collection->current->publication + 1 : 1;
    ki_touched_publish(collection->pages, edit->state->publication);
    pthread_mutex_lock(&collection->publishing);
    ki_snapshot *old = collection->current;
    collection->current = edit->state;
    pthread_cond_broadcast(&collection->published);
    pthread_mutex_unlock(&collection->publishing);
    ki_snapshot_release(old);
    ki_touched_end(collection->pages);
    end(edit);
}

void ki_edit_abandon(ki_edit *edit) {
    if (!edit) return;
    if (edit->grew) ki_head_cut(edit->grew, edit->count);
    if (edit->begun) ki_touched_end(edit->collection->pages);
    ki_snapshot_release(edit->state);
    end(edit);
}
