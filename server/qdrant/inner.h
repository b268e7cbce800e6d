/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this room share.
 *
 * 1. Everything that reads much or writes runs on a worker (ks_run_work, ks_run_write), where its body is parsed too;
 *    queries are parsed by the loop and queued (query.h).
 * 2. A function that fails has written the reply by ks_call_fail(); who called it just returns.
 * 3. A collection is borrowed for as long as the call lives (ks_qd_enter), and once more for each search. */
#ifndef KITH_SERVER_QDRANT_INNER_H
#define KITH_SERVER_QDRANT_INNER_H

#include "app.h"
#include "json/json.h"
#include "qdrant/filter.h"
#include "qdrant/id.h"
#include "qdrant/qdrant.h"

/* ---- Replies: {"result": ..., "status": "ok", "time": seconds} */

void ks_qd_fail(ks_call *call, int status, const char *sentence);
/* Begin the reply: the result, named "result", is to be written next. */
ks_json ks_qd_reply(ks_call *call);
void ks_qd_reply_end(ks_call *call, ks_json *json);
void ks_qd_true(ks_call *call);
void ks_qd_updated(ks_call *call, uint64_t version);
/* 501: "what" is not offered, and why. */
void ks_qd_not_offered(ks_call *call, const char *what);

/* ---- The collection of a call */

typedef struct ks_qd_place {
    ks_call *call;
    ks_app *app;
    ks_shop *shop;
    const char *segment; /* that the key is bound to; NULL: all */
} ks_qd_place;

/* By parts[0]. 0, or -1: failed. */
int ks_qd_enter(ks_call *call, ks_qd_place *place);
/* Whether the key may name it, and whether it may do what concerns all segments. */
int ks_qd_may_name(ks_call *call, const char *collection);
int ks_qd_may_all(ks_call *call);
/* Whether this server takes writes. */
int ks_qd_may_write(ks_call *call);

/* A vector's spec by its name (NULL: ""). 0, or -1: failed with 400. */
int ks_qd_vector(const ks_qd_place *place, const char *name, kith_vector_spec *spec);

/* ---- Parts of bodies */

/* The elements of an array whose numbers may have been taken out; NULL: it is no array, the call was failed. */
const json_t *ks_qd_elements(ks_call *call, const json_t *value, const char *what);
/* Refuse members that are not in the list (ends in NULL) and not null; shard_key by its name. 0, or -1: failed. */
int ks_qd_only(ks_call *call, const json_t *object, const char *const *names);
/* A member that is not null. */
const json_t *ks_qd_get(const json_t *object, const char *name);
/* Ids of an array. 0, or -1: failed. */
int ks_qd_ids(const ks_qd_place *place, const json_t *array, kith_ids *ids);
/* The same of ids that are collected one by one. */
typedef struct ks_qd_id_list {
    size_t count, room, bytes_room;
    uint64_t *numbers, *ends;
    char *bytes;
} ks_qd_id_list;
int ks_qd_id_list_begin(const ks_qd_place *place, ks_qd_id_list *list, size_t count, size_t text_bytes);
int ks_qd_id_list_add(const ks_qd_place *place, ks_qd_id_list *list, const json_t *value);
kith_ids ks_qd_id_list_ids(const ks_qd_id_list *list);

/* What points are meant, as a filter of kith's. *text: NULL means all; it lies in the call's memory. 0, or -1. */
typedef struct ks_qd_meant {
    const json_t *filters[2]; /* Qdrant's; NULL: none */
    const kith_ids *among;    /* one of these ids; NULL: any */
    const kith_ids *without;  /* none of these; NULL: all may be */
    int in_segment;           /* of the key's segment, if it has one */
} ks_qd_meant;
int ks_qd_where_of(const ks_qd_place *place, const ks_qd_meant *meant, const char **text);
int ks_qd_where(const ks_qd_place *place, const json_t *filter, const kith_ids *among, int in_segment,
                const char **text);
/* Floats of a dense vector of a spec's dimension. NULL: failed; what else a vector may be in Qdrant is named. */
const float *ks_qd_floats(ks_call *call, const json_t *value, const kith_vector_spec *spec);

/* What comes with points: with_payload, with_vector. */
typedef struct ks_qd_with {
    unsigned flags;        /* KITH_WITH_... */
    const json_t *include; /* keys, or NULL */
    const json_t *exclude;
    const json_t *vectors; /* names, or NULL: all */
} ks_qd_with;
int ks_qd_with_of(const ks_qd_place *place, const json_t *body, int payload_by_default, ks_qd_with *with);

/* Members of a point that was read, in an object that is open: id, version if it was read, payload, vector. 0; -1: the
 * memory is up, or a vector cannot be given (*why). */
int ks_qd_point(ks_json *json, const ks_qd_place *place, const ks_qd_with *with, const kith_result *result,
                const kith_hits *hits, size_t number, const char **why);
/* An id of a hit, as a member. */
void ks_qd_hit_id(ks_json *json, const char *name, const kith_hits *hits, size_t number);

/* A hit's payload as a tree, to be looked at: the caller's to decref; NULL where it has none. -1 in *status: it cannot
 * be read, as it has a U+0000. Whole numbers beyond an i64 are as near as a double comes. */
json_t *ks_qd_payload(const kith_hits *hits, size_t number, int *status);
/* Keep those parts of a payload that include or exclude say. The caller's to decref. */
json_t *ks_qd_chosen(const json_t *payload, const ks_qd_with *with);
/* The value at a key with dots; NULL: there is none. */
json_t *ks_qd_at_key(const json_t *payload, const char *key);

/* A result that goes with the call. NULL: failed. */
kith_result *ks_qd_result(ks_call *call);

/* ---- Writing points */

/* Points of a body, as kith takes them. */
typedef struct ks_qd_points {
    kith_ids ids;
    kith_item_vectors *vectors;
    size_t vector_count;
    const char *payload_bytes; /* NULL: none has one */
    uint64_t *payload_ends;
} ks_qd_points;
/* {"points": [{id, vector, payload}]} or {"batch": {ids, vectors, payloads}}. 0, or -1: failed. (points.c) */
int ks_qd_points_of(const ks_qd_place *place, const json_t *body, int with_payload, ks_qd_points *points);

/* When a point is written (store.c). */
typedef struct ks_qd_conditions {
    const json_t *filter;          /* one that is there must match it; NULL: none */
    int only_absent, only_present; /* insert_only, update_only */
} ks_qd_conditions;
/* Write items; those whose conditions are not met stay as they are. With a key's segment, all must be of it and become
 * of it. 0, or -1: failed. */
int ks_qd_store(const ks_qd_place *place, const ks_qd_points *points, kith_write_mode mode,
                const ks_qd_conditions *conditions, uint64_t *version);
/* Whether a payload is one that the key may write. */
int ks_qd_payload_fits(const ks_qd_place *place, const char *payload, size_t bytes);

/* Changing points that are there (edit.c). `change` makes of `count` points that were read the items to be written:
 * ids and if_version are set already. 0, or -1: failed. */
typedef struct ks_qd_edit {
    const ks_qd_place *place;
    const json_t *body; /* whose points or filter are meant */
    unsigned with;      /* that is read, KITH_WITH_VERSION too */
    kith_write_mode mode;
    int (*change)(struct ks_qd_edit *edit, const kith_result *result, const kith_hits *hits, kith_items *items);
    const void *context;
    ks_text text;     /* of change; freed at the end */
    uint64_t *ends;   /* room for KITH_K_MAX */
    uint64_t version; /* of the last write */
} ks_qd_edit;
int ks_qd_edit_points(ks_qd_edit *edit);

/* ---- Handlers, by file */

typedef void ks_qd_work(ks_call *call, void *context);

ks_qd_work ks_qd_collections, ks_qd_collection_exists, ks_qd_collection_get;                      /* collections.c */
ks_qd_work ks_qd_collection_create, ks_qd_collection_update, ks_qd_collection_drop;               /* create.c */
ks_qd_work ks_qd_index_create, ks_qd_index_drop;                                                  /* index.c */
ks_qd_work ks_qd_aliases, ks_qd_collection_aliases, ks_qd_change_aliases;                         /* alias.c */
ks_qd_work ks_qd_upsert;                                                                          /* upsert.c */
ks_qd_work ks_qd_update_vectors, ks_qd_delete_vectors;                                            /* vectors.c */
ks_qd_work ks_qd_set_payload, ks_qd_overwrite_payload, ks_qd_delete_payload, ks_qd_clear_payload; /* payload.c */
ks_qd_work ks_qd_delete, ks_qd_batch_update;                                                      /* delete.c */
ks_qd_work ks_qd_retrieve, ks_qd_retrieve_one, ks_qd_scroll, ks_qd_count;                         /* read.c */
ks_qd_work ks_qd_facet;                                                                           /* facet.c */

/* One operation of a body: the reply says only what went wrong. 0 and *version, or -1: failed. */
typedef int ks_qd_operation(const ks_qd_place *place, const json_t *body, uint64_t *version);
ks_qd_operation ks_qd_do_upsert, ks_qd_do_delete, ks_qd_do_set_payload, ks_qd_do_overwrite_payload,
    ks_qd_do_delete_payload, ks_qd_do_clear_payload, ks_qd_do_update_vectors, ks_qd_do_delete_vectors;
/* Enter, parse, do it, and reply. */
void ks_qd_operate(ks_call *call, ks_qd_operation *operation);

#endif
