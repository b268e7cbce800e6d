/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of /v1 share. Functions that return NULL or -1 have failed the call, whose handler then ends it.
 *
 * Who may see what:
 *
 * 1. A collection that a key may not name is not there for it: 404, as for one that does not exist.
 * 2. A key with a segment sees, and changes, items of that segment only. Filters are ANDed with it (filter.c), ids are
 *    looked up under it (look.c), searches have it as kith_ask.segment. A collection without a segment field is 403 for
 *    such a key, and so is what is of the whole collection: profiles, generations, jobs. */
#ifndef KITH_SERVER_NATIVE_INNER_H
#define KITH_SERVER_NATIVE_INNER_H

#include "json/json.h"
#include "native/native.h"
#include "watch/watch.h"

/* ---- Handlers, by file ------------------------------------------------------------------------------------------- */

void ks_v1_query(ks_call *call); /* query.c */

void ks_v1_points_write(ks_call *call); /* points.c */
void ks_v1_points_delete(ks_call *call);

void ks_v1_point_get(ks_call *call); /* read.c */
void ks_v1_points_get(ks_call *call);
void ks_v1_points_exists(ks_call *call);
void ks_v1_points_count(ks_call *call);

void ks_v1_points_scroll(ks_call *call); /* scroll.c */

void ks_v1_root(ks_call *call); /* collections.c */
void ks_v1_collections(ks_call *call);
void ks_v1_collection_create(ks_call *call);
void ks_v1_collection_get(ks_call *call);
void ks_v1_collection_drop(ks_call *call);
void ks_v1_field(ks_call *call);

void ks_v1_profile_events(ks_call *call); /* profiles.c */
void ks_v1_profile_get(ks_call *call);
void ks_v1_profile_delete(ks_call *call);
void ks_v1_profiles_rebuild(ks_call *call);
void ks_v1_warm(ks_call *call); /* warm.c */

void ks_v1_generations(ks_call *call); /* generations.c */
void ks_v1_generation_begin(ks_call *call);
void ks_v1_generation_check(ks_call *call);
void ks_v1_generation_canary(ks_call *call);
void ks_v1_generation_drop(ks_call *call);
void ks_v1_flip(ks_call *call);

void ks_v1_compact(ks_call *call); /* jobs.c */
void ks_v1_tune(ks_call *call);
void ks_v1_jobs(ks_call *call);
void ks_v1_job(ks_call *call);
void ks_v1_job_cancel(ks_call *call);

void ks_v1_snapshot(ks_call *call); /* snapshots.c */
void ks_v1_snapshots(ks_call *call);

void ks_v1_join(ks_call *call); /* join.c */

void ks_v1_stats(ks_call *call);   /* stats.c */
void ks_v1_openapi(ks_call *call); /* openapi.c */

/* ---- Collections of calls (shop.c) ------------------------------------------------------------------------------- */

/* The one that the path names, under the key's rights. It goes back when the call is over. */
ks_shop *ks_v1_shop(ks_call *call);
/* The same, for what is of the whole collection: 403 for keys with a segment. */
ks_shop *ks_v1_whole_shop(ks_call *call);
/* The same as ks_v1_shop(), to be given back by who asked: for searches, which the processor gives back. */
ks_shop *ks_v1_borrow(ks_call *call);
/* 403, and -1, where the server only reads. */
int ks_v1_may_change(ks_call *call);
/* Have a worker do it with the collection that the path names; whole: as ks_v1_whole_shop(). */
enum { KS_V1_WHOLE = 1, KS_V1_CHANGES = 2 };
typedef void ks_v1_work_fn(ks_call *call, ks_shop *shop);
void ks_v1_work(ks_call *call, unsigned how, ks_v1_work_fn *work);

/* A vector of a generation (0: the current one) by name; NULL: the unnamed one, or the only one. 0, or -1. */
int ks_v1_spec(ks_call *call, const ks_shop *shop, uint32_t generation, const char *name, kith_vector_spec *spec);
size_t ks_v1_row_bytes(const kith_vector_spec *spec); /* as they are sent and handed over: floats, or bytes of bits */
/* Numbers of a body as a row for it: of as many as it has, all finite, bits as bytes of 0..255. what names them in
 * errors. */
int ks_v1_row(ks_call *call, const kith_vector_spec *spec, const json_t *numbers, const char *what, void *row);

/* ---- Bodies ------------------------------------------------------------------------------------------------------ */

/* "with": ["payload", "version", "vector"] as KITH_WITH_... And the same of the URL: ?with=payload,version. */
int ks_v1_with(ks_call *call, const json_t *body, unsigned *with);
int ks_v1_with_argument(ks_call *call, unsigned *with);
/* A whole or other number of the URL: as ks_member_...(). */
int ks_v1_argument_uint(ks_call *call, const char *name, uint64_t max, uint64_t *out);
int ks_v1_argument_real(ks_call *call, const char *name, double min, double max, double *out);
int ks_v1_argument_bool(ks_call *call, const char *name, int *out);

/* "vectors" of what is made: specs has room for KITH_VECTORS_MAX. 0, or -1 (collections.c). */
int ks_v1_vector_specs(ks_call *call, const json_t *body, kith_vector_spec *specs, size_t *count);

/* Ids as the collection has them; name: of the member, in errors. 0, or -1. */
int ks_v1_ids(ks_call *call, const ks_shop *shop, const json_t *value, const char *name, kith_ids *ids);
/* One id of the path. */
int ks_v1_path_id(ks_call *call, const ks_shop *shop, const char *text, kith_ids *ids);

/* The filter in either form as text; *filter stays when there is none. 0, or -1. */
int ks_v1_filter(ks_call *call, const json_t *body, const char **filter);
/* The depth of a filter as text against the limit. */
int ks_v1_filter_depth(ks_call *call, const char *filter);
/* The filter and the key's segment: what reads and deletes by filter under a key may reach. Blocks: on a worker. */
int ks_v1_bind(ks_call *call, const ks_shop *shop, const char *filter, const char **bound);

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

/* The members of an item of hits: id, distance, payload, version, expires_ms, vector, as far as they are there. An
 * object is open. */
typedef struct ks_v1_items {
    const ks_shop *shop;
    const kith_result *result;
    const kith_hits *hits;
    unsigned with;
    size_t names; /* of the vectors that were read */
    kith_vector_spec specs[KITH_VECTORS_MAX];
} ks_v1_items;
void ks_v1_items_of(ks_v1_items *items, const ks_shop *shop, const kith_result *result, const kith_hits *hits,
                    unsigned with);
void ks_v1_item(const ks_v1_items *items, size_t at, ks_json *json);
void ks_v1_id(const ks_shop *shop, const kith_hits *hits, size_t at, ks_json *json, const char *name);

/* "recall": as it was measured live, or null (stats.c). */
void ks_v1_recall(ks_json *json, ks_app *app, const ks_shop *shop);

/* The word for what the library refused by, as errors and failed jobs have it under "kind"; NULL: none. */
const char *ks_v1_kind(kith_status status);
/* The reply is a document in `call->reply.body`; without memory for it the call fails. */
void ks_v1_written(ks_call *call);
/* End a call whose work is over. */
void ks_v1_report(ks_call *call, const kith_write_report *report);

/* Begin a job on the collection that the path names, and end the call: 202 and the job's number. context is forgotten
 * in any case. */
void ks_v1_begin_job(ks_call *call, const char *kind, ks_job_fn *work, void (*forget)(void *context), void *context);

#endif
