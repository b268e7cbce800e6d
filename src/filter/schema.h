/* SPDX-License-Identifier: Apache-2.0
 *
 * What a collection knows of its payloads: the declared fields, and the values of them that a payload holds.
 *
 * A payload is a JSON object. A declared field is found in it by its name, or, where the name has dots, by that path
 * through objects. A field whose value is absent or null has no value. A value of another type than was declared is
 * refused when it is written (KITH_E_DATA names the field); in payloads that were there before the declaration it
 * counts as absent.
 *
 *   tag      a string, or a number or boolean that is taken as its text             one string
 *   tags     an array of such, or a single one                                      several strings, distinct
 *   int      a whole number, -2^63..2^63-1 (also "3.0")                             i64
 *   float    a finite number                                                        double
 *   bool     true or false                                                          i64 0 or 1
 *   time     a whole number of milliseconds since 1970, or an RFC 3339 text         i64 milliseconds
 *
 * The text of a number is the same however it is written (1.0 is "1", 1.50 is "1.5"); whole numbers beyond 64 bits keep
 * their digits.
 *
 * A schema is constant once made (a declaration makes another one): any thread. */
#ifndef KI_FILTER_SCHEMA_H
#define KI_FILTER_SCHEMA_H

#include "kith.h"

typedef struct ki_field {
    char *name; /* owned */
    size_t name_bytes;
    kith_field_type type;
    uint32_t id; /* never reused within a collection */
} ki_field;

typedef struct ki_schema {
    size_t count; /* at most KITH_FIELDS_MAX */
    ki_field *fields;
    uint32_t *slots; /* inner: a hash table of numbers of fields + 1 by name; 0: free */
    size_t slot_mask;
    size_t dotted; /* inner: how many fields have names with dots */
} ki_schema;

/* A copy of the caller's fields with ids first_id and up. KITH_E_ARG names a name or type that cannot be, or one that
 * is there twice; KITH_E_LIMIT; KITH_E_NOMEM. */
kith_status ki_schema_create(const kith_field *fields, size_t count, uint32_t first_id, ki_schema **schema,
                             kith_error *error);
/* The same with one more. KITH_E_ARG: it is there already (with another type; the same type is fine and a copy comes).
 * */
kith_status ki_schema_add(const ki_schema *old, const kith_field *field, uint32_t id, ki_schema **schema,
                          kith_error *error);
void ki_schema_destroy(ki_schema *schema);
/* NULL: not declared. */
const ki_field *ki_schema_find(const ki_schema *schema, const char *name, size_t bytes);

/* One field's value in one row. Strings are borrowed from the ki_values that holds them. */
typedef struct ki_value {
    uint32_t count; /* 0: absent; tags: how many strings */
    union {
        int64_t i;   /* int, bool, time */
        double f;    /* float */
        uint32_t at; /* tag, tags: the first of `count` strings in ki_values */
    } as;
} ki_value;

/* The declared values of one payload; memory is kept from row to row. */
typedef struct ki_values {
    size_t count; /* as many as the schema has fields, in its order */
    ki_value *value;
    size_t strings;
    const char **string; /* sorted within a field, distinct */
    uint32_t *string_bytes;
    void *memory; /* inner */
} ki_values;

/* Parse a payload and take its declared values. `strict`: wrong types fail (KITH_E_DATA); else they are absent. No
 * payload (bytes 0): all are absent. KITH_E_DATA also for what is no JSON object, with the byte; KITH_E_NOMEM. */
kith_status ki_values_of(const ki_schema *schema, const char *payload, size_t bytes, int strict, ki_values *values,
                         kith_error *error);
/* Values that come from elsewhere: the schema's fields, all absent, and room for `strings` strings, which the caller
 * fills in and counts; what they point to is not the values' own. 0: no memory. */
int ki_values_reserve(const ki_schema *schema, size_t strings, ki_values *values);
void ki_values_free(ki_values *values); /* {0} is fine */

#endif
