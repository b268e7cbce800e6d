/* SPDX-License-Identifier: Apache-2.0
 *
 * What a read gives, as it is put together: items in the order in which they come, query by query.
 *
 *   ki_result_begin(result, generations, generation, with, distances)
 *   for each query: ki_result_open(); for each item ki_result_put(); ki_result_shut(); ki_result_end_query()
 *
 * R1. Memory belongs to the result and only grows: a read like an earlier one allocates nothing.
 * R2. Who fails between begin and the last end calls ki_result_forget: a result is never half of an answer.
 * R3. An item is told as the snapshot has it where the snapshot has it in memory. Payload and version of a sealed one
 *     come from the catalog, as they are now: newer perhaps, and with no payload and version 0 where it was removed
 *     meanwhile.
 *
 * One read at a time. */
#ifndef KI_COLLECTION_RESULT_H
#define KI_COLLECTION_RESULT_H

#include "base/area.h"
#include "state/collection.h"
#include "state/generations.h"

/* The vectors of one name. */
typedef struct ki_result_vectors {
    size_t slot;
    size_t row_bytes; /* of floats, or bits */
    kith_vector_spec spec;
    ki_area name; /* NUL-terminated: the collection may be closed meanwhile */
    ki_area rows, present;
} ki_result_vectors;

struct kith_result {
    unsigned with; /* KITH_WITH_... */
    int distances; /* something was searched */
    int texts;     /* the ids are strings */
    int reading;   /* between open and shut, with a state of the catalog */
    size_t queries, count;
    uint64_t text_used, payload_used; /* bytes */
    ki_area ends, ids, distance, text_bytes, text_ends, payload_bytes, payload_ends, versions, expires;
    size_t vector_count, vector_room;
    ki_result_vectors *vectors;
    ki_found found; /* what the catalog gave last */
    void *work;     /* memory of searches, which is none of this file's; NULL before the first */
    void (*end_work)(void *work);
};

/* Begin anew; vectors are those of one generation. The table is read, not kept. KITH_E_ARG: `with` holds what is not
 * known; KITH_E_NOMEM. */
kith_status ki_result_begin(kith_result *result, const ki_generations *generations, const ki_generation *generation,
                            unsigned with, int distances, kith_error *error);
/* Hold nothing. */
void ki_result_forget(kith_result *result);

/* About so many items will be put that lie in segments: the catalog is read once for all of them, and not an item at a
 * time. Until shut the thread does nothing else with the catalog. */
kith_status ki_result_open(kith_result *result, kith_collection *collection, uint64_t sealed, kith_error *error);
void ki_result_shut(kith_result *result, kith_collection *collection); /* also where open failed */

/* Add an item that lives in `snapshot` at `place`, with all that `with` asked for. distance: of searches. KITH_E_NOMEM,
 * and what the catalog and the segments fail with. */
kith_status ki_result_put(kith_result *result, kith_collection *collection, const ki_snapshot *snapshot, uint64_t key,
                          const ki_place *place, float distance, kith_error *error);
/* What was put since the last end is of one query; a read that is no search is of one. */
kith_status ki_result_end_query(kith_result *result, kith_error *error);

#endif
