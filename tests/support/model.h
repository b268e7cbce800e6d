/* SPDX-License-Identifier: Apache-2.0
 *
 * What a collection must hold and answer, by the contract's words alone: plain arrays, kith_distance() of every pair, a
 * sort. Nothing here looks inside the library. Small collections only; lookups go through all items.
 *
 * Writes take what the collection is given, and the version that it made of it. */
#ifndef TESTS_SUPPORT_MODEL_H
#define TESTS_SUPPORT_MODEL_H

#include "support/condition.h"

typedef struct model_item {
    uint64_t id; /* string ids: the number that the collection gave it, UINT64_MAX while it is not known */
    char *text;  /* string ids */
    uint64_t version, expires_ms;
    json_t *payload;                         /* NULL: none */
    unsigned char *vector[KITH_VECTORS_MAX]; /* in the stored type; NULL: it lacks it */
} model_item;

typedef struct model {
    kith_id_kind id_kind;
    size_t spec_count;
    const kith_vector_spec *spec; /* borrowed */
    const char *segment_field;    /* NULL: none; borrowed, a field without dots */
    uint64_t version;
    size_t count, capacity;
    model_item *item;  /* by id, once ids are known */
    kith_field *field; /* declared ones */
    size_t field_count;
} model;

/* made, and its specs: borrowed. */
void model_make(model *m, const kith_collection_options *made);
void model_copy(model *to, const model *from);
void model_free(model *m);

/* What a write must return. Where that is KITH_OK and `version` is not 0: the items become what they are then, with
 * that version. version 0: only tell. report: what a report must say (version: that of the model afterwards). Ids that
 * are there twice may only be upserted, without if_version. */
kith_status model_write(model *m, const kith_items *items, kith_write_mode mode, uint64_t version,
                        kith_write_report *report);
void model_delete(model *m, const kith_ids *ids, const uint64_t *if_version, uint64_t version,
                  kith_write_report *report);
void model_delete_where(model *m, const condition *where, uint64_t version, kith_write_report *report);
void model_declare(model *m, const kith_field *field);
/* Items whose time is up at now_ms are gone. */
void model_expire(model *m, uint64_t now_ms);

/* Ask a collection for the numbers of string ids that are not known yet, and sort. */
int model_learn(model *m, kith_collection *collection, kith_result *result, char *why);

/* NULL: everything matches. */
size_t model_count(const model *m, const condition *where);

/* Whether a collection holds what the model does: items, versions, payloads, vectors; get, exists, count, scroll and
 * searches of all its vectors. 0: `why` (MODEL_WHY_BYTES) says what differs. */
enum { MODEL_TEXT_BYTES = 1024, MODEL_WHY_BYTES = 2 * MODEL_TEXT_BYTES };
int model_same(const model *m, kith_collection *collection, kith_result *result, ki_rng *rng, char *why);
/* Whether a search, with a filter or without, gives what it must: one query or several, one vector or (k beyond the
 * items) several. With count, scroll and a page of it by the same filter. */
int model_same_search(const model *m, kith_collection *collection, kith_result *result, const condition *where,
                      ki_rng *rng, char *why);

#endif
