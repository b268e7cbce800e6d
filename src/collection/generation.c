/* SPDX-License-Identifier: Apache-2.0
 *
 * Generations: begun, told of, tried with some users, and dropped. Each change is a new table in one transaction of the
 * catalog, published with an edit; what is done to the vectors themselves is the affair of writes and of slots.c. */
#include "collection/generation.h"

#include "base/grow.h"
#include "base/status.h"
#include "log/follow.h"
#include "state/generations.h"
#include "upkeep/upkeep.h"
#include "write/generation.h"

#include <stdlib.h>

const char *kith_generation_state_name(kith_generation_state state) {
    switch (state) {
    case KITH_GENERATION_BUILDING:
        return "building";
    case KITH_GENERATION_CURRENT:
        return "current";
    case KITH_GENERATION_PREVIOUS:
        return "previous";
    case KITH_GENERATION_FORMER:
        return "former";
    default:
        return "?";
    }
}

/* ---- Begun ------------------------------------------------------------------------------------------------------- */

/* Under `writing`. */
static kith_status begin(kith_collection *collection, const kith_generation_options *options, uint32_t *number,
                         kith_error *error) {
    ki_generations *next = NULL;
    kith_status status = ki_generation_change(collection, &next, error);
    if (status != KITH_OK) return status;
    const uint32_t begun = next->next;
    status = ki_generations_begin(next, options, collection->now_ms(), error);
    if (status != KITH_OK) {
        free(next);
        return status;
    }
    status = ki_generation_publish(collection, next, error);
    if (status == KITH_OK) *number = begun;
    return status;
}

static kith_status begin_locked(kith_collection *collection, const kith_generation_options *options, uint32_t *number,
                                kith_error *error) {
    pthread_mutex_lock(&collection->writing);
    const kith_status status = begin(collection, options, number, error);
    pthread_mutex_unlock(&collection->writing);
    return status;
}

kith_status kith_collection_generation_begin(kith_collection *collection, const kith_generation_options *given,
                                             uint32_t *number, kith_error *error) {
    kith_generation_options options = KITH_GENERATION_OPTIONS_INIT;
    kith_error own = {0};
    if (!collection || !given || !number)
        return ki_fail(error, KITH_E_ARG, "kith_collection_generation_begin: an argument is NULL");
    kith_status status = ki_grown_read(KI_GROWN_GENERATION_OPTIONS, given, &options, error);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    status = begin_locked(collection, &options, number, &own);
    if (status == KITH_E_LIMIT) { /* room may have to be made first */
        const ki_generations *generations = ki_collection_generations(collection);
        if (ki_generations_leaving(generations) && ki_generations_would_fit(generations, &options)) {
            status = ki_maintain_slots(collection, error);
            return status == KITH_OK ? begin_locked(collection, &options, number, error) : status;
        }
    }
    return status == KITH_OK ? status : ki_fail(error, status, "%s", own.text);
}

/* ---- Told of ----------------------------------------------------------------------------------------------------- */

kith_status kith_collection_generation(kith_collection *collection, size_t place, kith_generation_info *given,
                                       kith_error *error) {
    kith_generation_info info = KITH_GENERATION_INFO_INIT;
    if (!collection || !given) return ki_fail(error, KITH_E_ARG, "kith_collection_generation: an argument is NULL");
    kith_status status = ki_grown_check(KI_GROWN_GENERATION_INFO, given, error);
    if (status == KITH_OK) status = ki_collection_refresh(collection, error);
    if (status != KITH_OK) return status;
    const ki_generations *generations = ki_collection_generations(collection);
    if (place >= generations->count)
        return ki_fail(error, KITH_E_NOTFOUND, "the collection has %zu generations", generations->count);
    const ki_generation *at = &generations->generation[place];
    info.number = at->number;
    info.state = ki_generations_state(generations, at);
    info.model = at->model;
    info.share = at->share;
    info.created_ms = at->created_ms;
    for (size_t n = 0; n < generations->made->vector_count; n++)
        info.own += generations->tenant[at->slot[n]] == at->number;
    ki_grown_write(KI_GROWN_GENERATION_INFO, &info, given);
    return KITH_OK;
}

kith_status kith_collection_generation_vector(kith_collection *collection, uint32_t number, size_t vector,
                                              kith_vector_spec *spec, kith_error *error) {
    const ki_generation *generation = NULL;
    if (!collection || !spec)
        return ki_fail(error, KITH_E_ARG, "kith_collection_generation_vector: an argument is NULL");
    kith_status status = ki_collection_refresh(collection, error);
    if (status != KITH_OK) return status;
    const ki_generations *generations = ki_collection_generations(collection);
    status = ki_generations_get(generations, number, &generation, error);
    if (status != KITH_OK) return status;
    if (vector >= generations->made->vector_count)
        return ki_fail(error, KITH_E_NOTFOUND, "the collection has %zu vectors", generations->made->vector_count);
    *spec = generations->spec[generation->slot[vector]];
    return KITH_OK;
}

kith_status kith_collection_generation_of(kith_collection *collection, const char *user, uint32_t *number,
                                          kith_error *error) {
    if (!collection || !user || !number)
        return ki_fail(error, KITH_E_ARG, "kith_collection_generation_of: an argument is NULL");
    const kith_status status = ki_collection_refresh(collection, error);
    if (status == KITH_OK) *number = ki_generations_of(ki_collection_generations(collection), user)->number;
    return status;
}

/* ---- Tried ------------------------------------------------------------------------------------------------------- */

static kith_status check_canary(const ki_generations *generations, const ki_generation *generation, double share,
                                kith_error *error) {
    if (generation->number == generations->current)
        return ki_fail(error, KITH_E_BUSY, "generation %u is current: all users who go to no canary go to it",
                       (unsigned)generation->number);
    for (size_t i = 0; i < generations->count && share > 0; i++) {
        const ki_generation *other = &generations->generation[i];
        if (other != generation && other->share > 0)
            return ki_fail(error, KITH_E_BUSY, "generation %u gets a share of the users already: end that first",
                           (unsigned)other->number);
    }
    return KITH_OK;
}

/* Under `writing`. */
static kith_status set_share(kith_collection *collection, uint32_t number, double share, kith_error *error) {
    ki_generations *next = NULL;
    const ki_generation *generation = NULL;
    kith_status status = ki_generation_change(collection, &next, error);
    if (status != KITH_OK) return status;
    status = ki_generations_get(next, number, &generation, error);
    if (status == KITH_OK) status = check_canary(next, generation, share, error);
    if (status != KITH_OK || !(generation->share < share || generation->share > share)) {
        free(next); /* nothing is to be changed */
        return status;
    }
    next->generation[generation - next->generation].share = share;
    return ki_generation_publish(collection, next, error);
}

kith_status kith_collection_generation_canary(kith_collection *collection, uint32_t number, double share,
                                              kith_error *error) {
    if (!collection) return ki_fail(error, KITH_E_ARG, "kith_collection_generation_canary: collection is NULL");
    if (!(share >= 0 && share <= 1))
        return ki_fail(error, KITH_E_ARG, "the share of a canary is %g, 0 to 1 are possible", share);
    kith_status status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&collection->writing);
    status = set_share(collection, number, share, error);
    pthread_mutex_unlock(&collection->writing);
    return status;
}

/* ---- Dropped ----------------------------------------------------------------------------------------------------- */

/* Under `writing`. */
static kith_status drop(kith_collection *collection, uint32_t number, kith_error *error) {
    ki_generations *next = NULL;
    const ki_generation *generation = NULL;
    kith_status status = ki_generation_change(collection, &next, error);
    if (status != KITH_OK) return status;
    status = ki_generations_get(next, number, &generation, error);
    if (status == KITH_OK && generation->number == next->current)
        status = ki_fail(error, KITH_E_BUSY, "generation %u is current: make another one current first",
                         (unsigned)generation->number);
    if (status != KITH_OK) {
        free(next);
        return status;
    }
    ki_generations_drop(next, generation->number);
    return ki_generation_publish(collection, next, error);
}

kith_status kith_collection_generation_drop(kith_collection *collection, uint32_t number, kith_error *error) {
    if (!collection) return ki_fail(error, KITH_E_ARG, "kith_collection_generation_drop: collection is NULL");
    kith_status status = ki_collection_takes_writes(collection, error);
    if (status != KITH_OK) return status;
    pthread_mutex_lock(&collection->writing);
    status = drop(collection, number, error);
    pthread_mutex_unlock(&collection->writing);
    if (status != KITH_OK) return status;
    if (collection->options.no_background) return ki_maintain_slots(collection, error);
    ki_maintain_wake(collection);
    return KITH_OK;
}
