/* SPDX-License-Identifier: Apache-2.0
 *
 * What the catalog's settings say of a collection, and their bytes:
 *
 *   made     how it was made: kind of ids, vectors, segment field, model. JSON, constant
 *   fields   the declared fields in the order of their declaration; a field's id is its place. JSON
 *   state    numbers that must never go back, as 64 bytes, little-endian:
 *              0   u32 version 1          24  u64 next_segment
 *              4   u32 0                  32  u64 edition
 *              8   u64 version            40  zeros
 *              16  u64 next_key
 *
 * M1. All that is read back is checked like a caller's options; what is newer is KITH_E_VERSION, what cannot be
 *     KITH_E_CORRUPT.
 * M2. `state` is written by every change of the catalog that is no plain write. Plain writes bear version and next_key
 *     in the log (log.h), and the log is dropped only by changes that write `state`: the maxima of both are the truth.
 * M3. `edition` counts the changes of segments, settings and the log's beginning: where it is as it was, a follower
 *     only needs the log's end.
 *
 * Pure functions: any thread. */
#ifndef KI_STATE_MADE_H
#define KI_STATE_MADE_H

#include "state/collection.h"

#include <jansson.h>

#define KI_SETTING_MADE   "made"
#define KI_SETTING_FIELDS "fields"
#define KI_SETTING_STATE  "state"

enum { KI_NAME_MAX = 255, KI_STATE_BYTES = 64, KI_SETTING_FORMAT = 1 };

/* From a caller's options; *schema: the declared fields. KITH_E_ARG, KITH_E_LIMIT, KITH_E_NOMEM. */
kith_status ki_made_create(const kith_collection_options *options, ki_made *made, ki_schema **schema,
                           kith_error *error);
void ki_made_free(ki_made *made); /* {0} is fine */

/* JSON: *text is the caller's to free. */
kith_status ki_made_encode(const ki_made *made, char **text, kith_error *error);
kith_status ki_fields_encode(const ki_schema *schema, char **text, kith_error *error);
/* path: the collection, for messages. */
kith_status ki_made_decode(ki_bytes body, const char *path, ki_made *made, kith_error *error);
kith_status ki_fields_decode(ki_bytes body, const char *path, ki_schema **schema, kith_error *error);

typedef struct ki_state {
    uint64_t version, next_key, next_segment, edition;
} ki_state;
void ki_state_encode(const ki_state *state, unsigned char bytes[KI_STATE_BYTES]);
kith_status ki_state_decode(ki_bytes body, const char *path, ki_state *state, kith_error *error);

/* Names of vectors, fields, records, models: UTF-8 of at most KI_NAME_MAX bytes without control characters. */
int ki_name_valid(const char *name, size_t bytes);
kith_status ki_model_check(const char *model, kith_error *error);
/* A caller's spec with its defaults filled in, into all of *vector but its name. KITH_E_ARG. */
kith_status ki_vector_shape(const char *name, const kith_vector_spec *given, ki_vector *vector, kith_error *error);

/* ---- Settings as JSON, of this and of generations.c -------------------------------------------------------------- */

/* A setting's text; frees the value. NULL: no memory. */
kith_status ki_setting_dump(json_t *value, char **text, kith_error *error);
json_t *ki_setting_vector(const ki_vector *vector); /* NULL: no memory */
/* An object of a version that is known; the caller lets go of it. */
kith_status ki_setting_load(ki_bytes body, const char *path, const char *setting, json_t **root, kith_error *error);
kith_status ki_setting_damaged(const char *path, const char *setting, const char *what, kith_error *error);
const char *ki_setting_text(const json_t *object, const char *key); /* NULL: that is no string */
/* What ki_setting_vector() made; its name is borrowed, and NULL where it is not whole. */
kith_vector_spec ki_setting_spec(const json_t *vector);

#endif
