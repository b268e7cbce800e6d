/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of a head: appending, cutting off, and what a row holds besides its vectors. Texts, payloads and values lie in
 * an arena of pieces that never move. */
#include "base/checked.h"
#include "base/status.h"
#include "head/head_state.h"
#include "kernel/distance.h"

#include <string.h>

enum { PIECE_BYTES = 64 << 10 };

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void destroy(ki_head *head) {
    for (size_t s = 0; s < head->specs && head->blocks; s++) ki_head_block_destroy(&head->blocks[s]);
    const ki_head_piece *pieces = head->pieces;
    for (size_t i = 0; i < head->piece_count; i++) free(pieces[i].data);
    free(head->pieces);
    free(head->blocks);
    free(head->entries);
    ki_head_keys_destroy(&head->keys);
    free(head);
}

kith_status ki_head_create(const kith_vector_spec *specs, size_t spec_count, const ki_schema *schema, size_t capacity,
                           ki_head **head, kith_error *error) {
    if (capacity < 1 || capacity > KI_HEAD_CAPACITY_MAX)
        return ki_fail(error, KITH_E_ARG, "a head of %zu rows: 1 to %u are possible", capacity, KI_HEAD_CAPACITY_MAX);
    kith_status status = KITH_OK;
    ki_head *made = ki_alloc_array_zeroed(1, sizeof(*made));
    if (!made) goto no_memory;
    atomic_init(&made->references, 1);
    made->capacity = capacity;
    made->specs = spec_count;
    made->schema = schema;
    made->entries = ki_alloc_array(capacity, sizeof(*made->entries));
    made->blocks = ki_alloc_array_zeroed(spec_count, sizeof(*made->blocks));
    if (!ki_head_keys_create(capacity, &made->keys) || !made->entries || !made->blocks) goto no_memory;
    for (size_t s = 0; s < spec_count && status == KITH_OK; s++)
        if (specs[s].dim) status = ki_head_block_create(&specs[s], capacity, &made->blocks[s], error);
    if (status != KITH_OK) goto failed;
    *head = made;
    return KITH_OK;
no_memory:
    status = ki_fail(error, KITH_E_NOMEM, "out of memory for a head of %zu rows", capacity);
failed:
    if (made) destroy(made);
    return status;
}

ki_head *ki_head_hold(ki_head *head) {
    atomic_fetch_add_explicit(&head->references, 1, memory_order_relaxed);
    return head;
}

void ki_head_release(ki_head *head) {
    if (head && atomic_fetch_sub_explicit(&head->references, 1, memory_order_acq_rel) == 1) destroy(head);
}

size_t ki_head_count(const ki_head *head) {
    return atomic_load_explicit(&head->count, memory_order_relaxed);
}

size_t ki_head_capacity(const ki_head *head) {
    return head->capacity;
}

const ki_schema *ki_head_schema(const ki_head *head) {
    return head->schema;
}

int ki_head_takes(const ki_head *head, size_t spec, const kith_vector_spec *like) {
    const ki_head_block *block = spec < head->specs ? &head->blocks[spec] : NULL;
    return block && block->memory && block->dim == like->dim && block->dtype == like->dtype &&
           block->metric == like->metric;
}

uint64_t ki_head_memory_bytes(const ki_head *head) {
    const size_t rows = ki_head_count(head);
    uint64_t bytes = rows * sizeof(*head->entries) + ki_head_keys_bytes(&head->keys, rows);
    for (size_t s = 0; s < head->specs; s++)
        if (head->blocks[s].memory) bytes += ki_head_block_bytes(&head->blocks[s], rows);
    bytes += ki_head_links_bytes(head);
    return bytes + atomic_load_explicit(&head->arena_bytes, memory_order_relaxed);
}

/* ---- The arena --------------------------------------------------------------------------------------------------- */

/* Room for `bytes`, aligned to 8; NULL: no memory. Nothing is used of it yet. */
static char *arena_room(ki_head *head, size_t bytes) {
    ki_head_piece *pieces = head->pieces;
    if (head->piece_count) {
        const ki_head_piece *last = &pieces[head->piece_count - 1];
        if (last->bytes - last->used >= bytes) return last->data + last->used;
    }
    if (!ki_array_reserve(&head->pieces, &head->piece_capacity, (uint64_t)head->piece_count + 1, sizeof(*pieces)))
        return NULL;
    pieces = head->pieces;
    ki_head_piece piece = {.bytes = bytes > PIECE_BYTES ? bytes : PIECE_BYTES};
    piece.data = ki_alloc_array(piece.bytes, 1);
    if (!piece.data) return NULL;
    pieces[head->piece_count++] = piece;
    atomic_fetch_add_explicit(&head->arena_bytes, piece.bytes, memory_order_relaxed);
    return piece.data;
}

static void arena_use(ki_head *head, size_t bytes) {
    ki_head_piece *pieces = head->pieces;
    if (bytes) pieces[head->piece_count - 1].used += bytes;
}

/* As it was before the row. */
static void arena_cut(ki_head *head, const ki_head_entry *row) {
    ki_head_piece *pieces = head->pieces;
    while (head->piece_count > row->mark) {
        const ki_head_piece *last = &pieces[--head->piece_count];
        atomic_fetch_sub_explicit(&head->arena_bytes, last->bytes, memory_order_relaxed);
        free(last->data);
    }
    if (head->piece_count) pieces[head->piece_count - 1].used = row->used;
}

/* ---- Appending --------------------------------------------------------------------------------------------------- */

static size_t fields_of(const ki_head *head) {
    return head->schema ? head->schema->count : 0;
}

/* What a row takes in the arena: values, strings, texts. */
static int row_bytes(const ki_head *head, const ki_head_row *row, uint64_t *bytes) {
    const size_t strings = row->values ? row->values->strings : 0;
    uint64_t part, total = row->text_bytes;
    if (!ki_mul(fields_of(head), sizeof(ki_value), &part) || !ki_add(total, part, &total)) return 0;
    if (!ki_mul(strings, sizeof(char *) + sizeof(uint32_t), &part) || !ki_add(total, part, &total)) return 0;
    for (size_t i = 0; i < strings; i++)
        if (!ki_add(total, row->values->string_bytes[i], &total)) return 0;
    if (!ki_add(total, row->payload_bytes, &total) || !ki_add(total, sizeof(ki_head_strings) + 7, &total)) return 0;
    *bytes = total / 8 * 8;
    return total < PTRDIFF_MAX / 2;
}

static const char *put_text(char **at, const char *text, size_t bytes) {
    char *to = *at;
    if (bytes) memcpy(to, text, bytes);
    *at += bytes;
    return to;
}

/* Copy the values of a row: what is aligned comes first. Returns where its texts may begin. */
static char *put_values(const ki_head *head, const ki_values *values, char *at, ki_head_entry *entry) {
    const size_t fields = fields_of(head), strings = values ? values->strings : 0;
    ki_value *value = (ki_value *)(void *)at;
    for (size_t f = 0; f < fields; f++) value[f] = values && f < values->count ? values->value[f] : (ki_value){0};
    at += fields * sizeof(*value);
    ki_head_strings *held = (ki_head_strings *)(void *)at;
    at += sizeof(*held);
    *held = (ki_head_strings){strings, (const char **)(void *)at, NULL};
    at += strings * sizeof(char *);
    held->bytes = (uint32_t *)(void *)at;
    at += strings * sizeof(uint32_t);
    for (size_t i = 0; i < strings; i++) {
        held->bytes[i] = values->string_bytes[i];
        held->string[i] = put_text(&at, values->string[i], values->string_bytes[i]);
    }
    entry->value = value;
    entry->strings = held;
    return at;
}

static void put_entry(ki_head *head, const ki_head_row *row, char *room, ki_head_entry *entry) {
    char *at = put_values(head, row->values, room, entry);
    entry->view = (ki_head_view){.key = row->key,
                                 .version = row->version,
                                 .expires_ms = row->expires_ms,
                                 .text_bytes = row->text_bytes,
                                 .payload_bytes = row->payload_bytes};
    entry->view.text = put_text(&at, row->text, row->text_bytes);
    entry->view.payload = put_text(&at, row->payload, row->payload_bytes);
}

kith_status ki_head_append(ki_head *head, const ki_head_row *row, kith_error *error) {
    const size_t serial = ki_head_count(head);
    uint64_t bytes;
    if (serial == head->capacity) return ki_fail(error, KITH_E_LIMIT, "the head is full: it has %zu rows", serial);
    if (!row_bytes(head, row, &bytes)) return ki_fail(error, KITH_E_LIMIT, "row %zu of the head is too long", serial);
    ki_head_entry *entry = &head->entries[serial];
    const ki_head_piece *pieces = head->pieces;
    entry->mark = head->piece_count;
    entry->used = head->piece_count ? pieces[head->piece_count - 1].used : 0;
    char *room = arena_room(head, (size_t)bytes);
    if (!room || !ki_head_keys_reserve(&head->keys, serial))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for row %zu of the head", serial);
    put_entry(head, row, room, entry);
    arena_use(head, (size_t)bytes);
    ki_head_keys_append(&head->keys, (uint32_t)serial, row->key);
    for (size_t s = 0; s < head->specs; s++)
        if (head->blocks[s].memory) ki_head_block_append(&head->blocks[s], (uint32_t)serial, row->key, row->vectors[s]);
    atomic_store_explicit(&head->count, serial + 1, memory_order_relaxed);
    return KITH_OK;
}

void ki_head_cut(ki_head *head, size_t count) {
    size_t rows = ki_head_count(head);
    if (count >= rows) return;
    for (size_t s = 0; s < head->specs; s++)
        if (head->blocks[s].memory) ki_head_block_cut(&head->blocks[s], count);
    while (rows-- > count) ki_head_keys_cut(&head->keys, (uint32_t)rows);
    arena_cut(head, &head->entries[count]);
    atomic_store_explicit(&head->count, count, memory_order_relaxed);
}

/* ---- Rows -------------------------------------------------------------------------------------------------------- */

ki_head_view ki_head_row_at(const ki_head *head, uint32_t serial) {
    return head->entries[serial].view;
}

uint64_t ki_head_key(const ki_head *head, uint32_t serial) {
    return head->keys.key[serial];
}

int ki_head_find_writer(const ki_head *head, uint64_t key, uint32_t *serial) {
    return ki_head_keys_newest(&head->keys, ki_head_count(head), key, serial);
}

int ki_head_find(const ki_head *head, size_t count, uint64_t key, uint32_t *serial) {
    return ki_head_keys_find(&head->keys, count, key, serial);
}

const void *ki_head_vector(const ki_head *head, size_t spec, uint32_t serial) {
    if (spec >= head->specs || !head->blocks[spec].memory) return NULL;
    const ki_head_block *block = &head->blocks[spec];
    const uint32_t place = block->place[serial];
    return place & KI_HEAD_ABSENT ? NULL : block->originals + (size_t)place * block->row_bytes;
}

int ki_head_read_vector(const ki_head *head, size_t spec, uint32_t serial, void *to) {
    const void *row = ki_head_vector(head, spec, serial);
    if (!row) return 0;
    const ki_head_block *block = &head->blocks[spec];
    if (block->dtype == KITH_B1)
        memcpy(to, row, block->row_bytes);
    else
        ki_distance()->to_f32[block->dtype](row, block->dim, to);
    return 1;
}

int ki_head_values(const ki_head *head, uint32_t serial, ki_values *values) {
    const ki_head_entry *entry = &head->entries[serial];
    *values = (ki_values){.count = fields_of(head),
                          .value = (ki_value *)(uintptr_t)entry->value,
                          .strings = entry->strings->count,
                          .string = entry->strings->string,
                          .string_bytes = entry->strings->bytes};
    return 1;
}
