/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON of bodies. Writing goes straight into the reply. Reading is jansson's, but for long arrays of numbers: these are
 * taken out first and become floats directly, since a vector as 384 json_t costs more than a search. */
#ifndef KITH_SERVER_JSON_JSON_H
#define KITH_SERVER_JSON_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "http/call.h"

/* ---- Writing: commas and quotes are placed by the writer; nesting is checked by assertion */

enum {
    KS_JSON_DEPTH_MAX = 64,   /* of what is read */
    KS_JSON_WRITTEN_MAX = 128 /* of what is written: what was read, within something else */
};

typedef struct ks_json {
    ks_text *text;
    int depth;
    uint64_t filled[KS_JSON_WRITTEN_MAX / 64]; /* a bit a depth: something is there already */
} ks_json;

#define KS_JSON(text_)                                                                                                 \
    { .text = (text_) }

/* name: NULL inside arrays and at the top. */
void ks_json_object(ks_json *json, const char *name);
void ks_json_object_end(ks_json *json);
void ks_json_array(ks_json *json, const char *name);
void ks_json_array_end(ks_json *json);
void ks_json_text(ks_json *json, const char *name, const char *text); /* NULL: null */
void ks_json_bytes(ks_json *json, const char *name, const char *text, size_t bytes);
void ks_json_verbatim(ks_json *json, const char *name, const char *text,
                      size_t bytes); /* JSON already; 0 bytes: null */
void ks_json_uint(ks_json *json, const char *name, uint64_t number);
void ks_json_int(ks_json *json, const char *name, int64_t number);
void ks_json_real(ks_json *json, const char *name, double number); /* NaN and infinities: null */
void ks_json_float(ks_json *json, const char *name, float number); /* shortest text that reads back as this float */
void ks_json_floats(ks_json *json, const char *name, const float *numbers, size_t count);
void ks_json_bool(ks_json *json, const char *name, int value);
void ks_json_null(ks_json *json, const char *name);
void ks_json_value(ks_json *json, const char *name, const json_t *value); /* as jansson has it, numbers taken out too */

/* ---- Reading */

/* The body as a tree that goes with the call. NULL: the call was failed with 400 and a sentence that names line and
 * column (an empty body: `what` was to come, "a JSON object with a vector"). Depth is at most KS_JSON_DEPTH_MAX, a name
 * that is twice in an object is refused. */
const json_t *ks_body(ks_call *call, const char *what);
/* The same of any text, e.g. a line of NDJSON, and any value; error text names line and column within it. The bytes
 * must live as long as the call, and a zero or a line's end follow them. KITH_E_FORMAT, KITH_E_NOMEM. */
const json_t *ks_parse(ks_call *call, const char *bytes, size_t count, kith_error *error);
/* The same for many texts of one call: the tree is the caller's to give up (json_decref) before the call ends. */
json_t *ks_parse_own(ks_call *call, const char *bytes, size_t count, kith_error *error);

/* ARRAYS OF NUMBERS, short ones too, and whole numbers beyond an i64 are strings to jansson, which have something else
 * than they seem: use what follows, never json_array_...() on what ks_array() or ks_member_array() did not give, and
 * ks_dump() or ks_json_value() instead of json_dumps().
 *
 * Whether a value is an array of numbers only (an empty one too); and its floats (of the call's memory; NULL: it is
 * none, and the call was failed). Numbers beyond a float's range are infinite, which searches and writes refuse. */
int ks_is_numbers(const json_t *value);
const float *ks_floats(ks_call *call, const json_t *value, size_t *count);
/* A whole number of 0 and up: 1; 0 when it is something else. And an array of them, e.g. of ids; NULL: the call was
 * failed, "<name> must be ...". */
int ks_uint(const json_t *value, uint64_t *out);
const uint64_t *ks_uints(ks_call *call, const json_t *value, const char *name, size_t *count);
/* A value as an array whose elements jansson can be asked for (arrays in it are as said above). NULL: it is no array,
 * and nothing was said; or the call was failed (ks_is_numbers() is true of it). */
const json_t *ks_array(ks_call *call, const json_t *value);

/* Members. They return 1 and set *out; 0 when there is none (or null), *out stays; -1 when it is something else: the
 * call was failed with 400, "<name> must be ...". */
int ks_member_text(ks_call *call, const json_t *object, const char *name, const char **out);
int ks_member_uint(ks_call *call, const json_t *object, const char *name, uint64_t max, uint64_t *out);
int ks_member_real(ks_call *call, const json_t *object, const char *name, double min, double max, double *out);
int ks_member_bool(ks_call *call, const json_t *object, const char *name, int *out);
int ks_member_array(ks_call *call, const json_t *object, const char *name, const json_t **out); /* as ks_array() */
int ks_member_object(ks_call *call, const json_t *object, const char *name, const json_t **out);
/* Refuse members that are not in the list (ends in NULL): a misspelt one must not be passed over. 0, or -1: failed. */
int ks_members_only(ks_call *call, const json_t *object, const char *const *names);

/* A value as compact JSON text in the call's memory (payloads; filters in their JSON form). NULL: failed. */
const char *ks_dump(ks_call *call, const json_t *value, size_t *bytes);

#endif
