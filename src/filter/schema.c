/* SPDX-License-Identifier: Apache-2.0
 *
 * Schemas: copies of what was declared, found by name through a small open-addressing table. */
#include "filter/schema.h"

#include "base/checked.h"
#include "base/status.h"
#include "base/utf8.h"
#include "filter/doc.h"

#include <string.h>
#include <xxhash.h>

enum { NAME_MAX_BYTES = 255 };

static const char *const type_names[] = {NULL, "tag", "tags", "int", "float", "bool", "time"};
enum { TYPE_COUNT = sizeof type_names / sizeof type_names[0] };

const char *kith_field_type_name(kith_field_type type) {
    const unsigned number = (unsigned)type;
    return number > 0 && number < TYPE_COUNT ? type_names[number] : "?";
}

int kith_field_type_parse(const char *word, kith_field_type *type) {
    if (!word || !type) return 0;
    for (unsigned i = 1; i < TYPE_COUNT; i++)
        if (strcmp(word, type_names[i]) == 0) {
            *type = (kith_field_type)i;
            return 1;
        }
    return 0;
}

static int is_name(const char *name, size_t bytes) {
    if (bytes == 0 || bytes > NAME_MAX_BYTES) return 0;
    for (const char *at = name, *end = name + bytes; at < end;) {
        const size_t step = ki_utf8_step(at, end);
        if (step == 0 || (unsigned char)*at < 0x20 || *at == 0x7F) return 0;
        at += step;
    }
    return 1;
}

/* Where the name stands in the table, or the free slot where it would. */
static uint32_t *slot_of(const ki_schema *schema, const char *name, size_t bytes) {
    size_t at = (size_t)XXH3_64bits(name, bytes) & schema->slot_mask;
    for (;; at = (at + 1) & schema->slot_mask) {
        uint32_t *slot = &schema->slots[at];
        const ki_field *field = &schema->fields[*slot ? *slot - 1 : 0];
        if (*slot == 0 || (field->name_bytes == bytes && memcmp(field->name, name, bytes) == 0)) return slot;
    }
}

const ki_field *ki_schema_find(const ki_schema *schema, const char *name, size_t bytes) {
    if (!schema || schema->count == 0) return NULL;
    const uint32_t *slot = slot_of(schema, name, bytes);
    return *slot ? &schema->fields[*slot - 1] : NULL;
}

void ki_schema_destroy(ki_schema *schema) {
    if (!schema) return;
    for (size_t i = 0; i < schema->count; i++) free(schema->fields[i].name);
    free(schema->fields);
    free(schema->slots);
    free(schema);
}

/* With room for `room` fields, and none yet. */
static kith_status make_empty(size_t room, ki_schema **made, kith_error *error) {
    if (room > KITH_FIELDS_MAX)
        return ki_fail(error, KITH_E_LIMIT, "a collection has at most %u declared fields, not %zu", KITH_FIELDS_MAX,
                       room);
    ki_schema *schema = calloc(1, sizeof *schema);
    if (!schema) goto refused;
    size_t slots = 8;
    while (slots < 2 * room) slots *= 2;
    schema->slot_mask = slots - 1;
    schema->fields = ki_alloc_array_zeroed(room, sizeof *schema->fields);
    schema->slots = ki_alloc_array_zeroed(slots, sizeof *schema->slots);
    if (!schema->fields || !schema->slots) goto refused;
    *made = schema;
    return KITH_OK;
refused:
    ki_schema_destroy(schema);
    return ki_fail(error, KITH_E_NOMEM, "no memory for %zu declared fields", room);
}

/* There is room for it. */
static kith_status append(ki_schema *schema, const kith_field *given, uint32_t id, kith_error *error) {
    const size_t bytes = given->name ? strlen(given->name) : 0;
    if (!is_name(given->name, bytes))
        return ki_fail(error, KITH_E_ARG,
                       "a declared field needs a name of 1 to %d bytes of UTF-8 without control characters",
                       NAME_MAX_BYTES);
    if (kith_field_type_name(given->type)[0] == '?')
        return ki_fail(error, KITH_E_ARG, "the field \"%s\" has the type %d, which is none", given->name,
                       (int)given->type);
    if (given->reserved != 0)
        return ki_fail(error, KITH_E_ARG, "kith_field.reserved of the field \"%s\" is not 0", given->name);
    uint32_t *slot = slot_of(schema, given->name, bytes);
    if (*slot) return ki_fail(error, KITH_E_ARG, "the field \"%s\" is declared twice", given->name);
    char *name = malloc(bytes + 1);
    if (!name) return ki_fail(error, KITH_E_NOMEM, "no memory for the name of a field");
    memcpy(name, given->name, bytes + 1);
    schema->fields[schema->count] = (ki_field){name, bytes, given->type, id};
    schema->dotted += memchr(name, '.', bytes) != NULL;
    *slot = (uint32_t)++schema->count;
    return KITH_OK;
}

kith_status ki_schema_create(const kith_field *fields, size_t count, uint32_t first_id, ki_schema **made,
                             kith_error *error) {
    if (count > 0 && !fields)
        return ki_fail(error, KITH_E_ARG, "%zu fields are declared, and NULL stands for them", count);
    ki_schema *schema;
    kith_status status = make_empty(count, &schema, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < count && status == KITH_OK; i++)
        status = append(schema, &fields[i], first_id + (uint32_t)i, error);
    if (status != KITH_OK) {
        ki_schema_destroy(schema);
        return status;
    }
    *made = schema;
    return KITH_OK;
}

kith_status ki_schema_add(const ki_schema *old, const kith_field *field, uint32_t id, ki_schema **made,
                          kith_error *error) {
    const ki_field *there = field->name ? ki_schema_find(old, field->name, strlen(field->name)) : NULL;
    if (there && there->type != field->type)
        return ki_fail(error, KITH_E_ARG, "the field \"%s\" is declared as %s already, so it cannot become %s",
                       field->name, kith_field_type_name(there->type), kith_field_type_name(field->type));
    ki_schema *schema;
    kith_status status = make_empty(old->count + !there, &schema, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < old->count && status == KITH_OK; i++) {
        const kith_field copy = {old->fields[i].name, old->fields[i].type, 0};
        status = append(schema, &copy, old->fields[i].id, error);
    }
    if (status == KITH_OK && !there) status = append(schema, field, id, error);
    if (status != KITH_OK) {
        ki_schema_destroy(schema);
        return status;
    }
    *made = schema;
    return KITH_OK;
}
