/* SPDX-License-Identifier: Apache-2.0
 *
 * Which segments' items an edit changes, and when each was changed last (pages.h P1, P2). Notes take no memory and
 * cannot fail: what cannot be told counts as a change of everything. */
#include "base/checked.h"
#include "state/pages.h"

#include <string.h>
#include <xxhash.h>

enum { WORDS = KI_STRIPES / 64 };

static size_t stripe_of(const char *segment, size_t bytes) {
    return (size_t)(XXH3_64bits(segment, bytes) & (KI_STRIPES - 1));
}

/* ---- Noting ------------------------------------------------------------------------------------------------------ */

void ki_touched_begin(ki_pages *pages) {
    if (pages) atomic_fetch_add(&pages->touched.edits, 1);
}

void ki_touched_end(ki_pages *pages) {
    if (!pages) return;
    ki_touched *touched = &pages->touched;
    if (touched->noted_any) memset(touched->noted, 0, WORDS * sizeof(*touched->noted));
    touched->noted_any = touched->noted_all = 0;
    atomic_fetch_add(&touched->edits, 1);
}

void ki_touched_all(ki_pages *pages) {
    if (pages) pages->touched.noted_all = 1;
}

/* The segment field in a schema, or NULL. */
static const ki_field *field_of(const kith_collection *collection, const ki_schema *schema) {
    const char *name = collection->made.segment_field;
    return schema ? ki_schema_find(schema, name, strlen(name)) : NULL;
}

/* A row whose field `number` may hold a segment. */
static void note(ki_touched *touched, const ki_values *values, size_t number) {
    if (number >= values->count || !values->value[number].count) return; /* of no segment */
    const uint32_t at = values->value[number].as.at;
    const size_t stripe = stripe_of(values->string[at], values->string_bytes[at]);
    touched->noted[stripe / 64] |= UINT64_C(1) << (stripe % 64);
    touched->noted_any = 1;
}

/* Whether rows are to be told apart at all. */
static int by_stripe(const kith_collection *collection) {
    const ki_pages *pages = collection->pages;
    return pages && pages->touched.changed && !pages->touched.noted_all;
}

void ki_touched_values(kith_collection *collection, const ki_schema *schema, const ki_values *values) {
    if (!by_stripe(collection) || !values) return;
    const ki_field *field = field_of(collection, schema);
    if (field)
        note(&collection->pages->touched, values, (size_t)(field - schema->fields));
    else
        ki_touched_all(collection->pages);
}

static void touch_sealed(kith_collection *collection, const ki_snapshot *state, const ki_place *place) {
    ki_touched *touched = &collection->pages->touched;
    const ki_table *table = state->sealed[place->sealed].sealed->table;
    const ki_field *field = field_of(collection, state->schema);
    ki_field one;
    if (field && ki_table_has(table, field)) {
        one = *field;
        const ki_schema alone = {.count = 1, .fields = &one};
        if (ki_table_values(table, &alone, place->row, &touched->values) == KITH_OK) {
            note(touched, &touched->values, 0);
            return;
        }
    }
    touched->noted_all = 1;
}

void ki_touched_place(kith_collection *collection, const ki_snapshot *state, const ki_place *place) {
    if (!by_stripe(collection)) return;
    if (place->head == SIZE_MAX) {
        touch_sealed(collection, state, place);
        return;
    }
    const ki_head *head = state->head[place->head].head;
    ki_values values;
    if (ki_head_values(head, place->row, &values)) ki_touched_values(collection, ki_head_schema(head), &values);
}

void ki_touched_publish(ki_pages *pages, uint64_t publication) {
    if (!pages) return;
    ki_touched *touched = &pages->touched;
    if (touched->noted_all) atomic_store_explicit(&touched->all, publication, memory_order_relaxed);
    for (size_t w = 0; w < WORDS && touched->noted_any; w++)
        for (uint64_t word = touched->noted[w]; word; word &= word - 1)
            atomic_store_explicit(&touched->changed[w * 64 + (unsigned)__builtin_ctzll(word)], publication,
                                  memory_order_relaxed);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

int ki_touched_tag(ki_pages *pages, const ki_snapshot *snapshot, const char *segment, uint64_t *tag) {
    ki_touched *touched = &pages->touched;
    *tag = snapshot->publication;
    if (!segment) return 1;
    if (!touched->changed) return 0;
    const uint64_t all = atomic_load_explicit(&touched->all, memory_order_relaxed);
    *tag = atomic_load_explicit(&touched->changed[stripe_of(segment, strlen(segment))], memory_order_relaxed);
    if (all > *tag) *tag = all;
    return *tag <= snapshot->publication;
}
