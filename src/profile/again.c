/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile made anew of the events that it remembers: items have other vectors now, or another named vector is asked
 * for. */
#include "base/checked.h"
#include "base/status.h"
#include "profile/profile.h"

#include <stdlib.h>
#include <string.h>

/* An empty profile of that space with the settings of another one. */
static kith_status begin(const ki_profile *like, const ki_profile_space *space, ki_profile *fresh, kith_error *error) {
    const ki_profile_settings settings = {like->interests_max, like->seen_max, like->half_life_ms, like->threshold};
    *fresh = (ki_profile){.vector = space->vector, .tenant = space->tenant, .dim = space->dim, .metric = space->metric};
    return ki_profile_set(fresh, &settings, error);
}

/* The interests of `fresh` become the profile's. */
static void take_interests(ki_profile *profile, ki_profile *fresh) {
    float *old = profile->mean;
    profile->vector = fresh->vector;
    profile->tenant = fresh->tenant;
    profile->dim = fresh->dim;
    profile->metric = fresh->metric;
    profile->interest_count = fresh->interest_count;
    memcpy(profile->weight, fresh->weight, sizeof(profile->weight));
    profile->mean = fresh->mean;
    fresh->mean = old;
}

static kith_status replay(const ki_profile *from, ki_profile *fresh, ki_profile_vector_fn fn, void *context,
                          float *vector, uint64_t *missing, kith_error *error) {
    for (uint32_t i = 0; i < from->log_count; i++) {
        kith_error own = {0};
        const kith_status status = fn(context, from->log[i].key, vector, &own);
        if (status == KITH_OK)
            ki_profile_replay(fresh, &from->log[i], vector);
        else if (status == KITH_E_NOTFOUND)
            (*missing)++;
        else
            return ki_fail(error, status, "%s", own.text);
    }
    ki_profile_age(fresh, from->time_ms);
    return KITH_OK;
}

kith_status ki_profile_again(ki_profile *profile, const ki_profile_space *space, ki_profile_vector_fn fn, void *context,
                             uint64_t *skipped, kith_error *error) {
    ki_profile fresh;
    uint64_t missing = 0;
    kith_status status = begin(profile, space, &fresh, error);
    if (status != KITH_OK) return status;
    float *vector = ki_alloc_array(space->dim, sizeof(*vector));
    status = vector ? replay(profile, &fresh, fn, context, vector, &missing, error)
                    : ki_fail(error, KITH_E_NOMEM, "out of memory for a profile of %u elements", space->dim);
    if (status == KITH_OK) {
        take_interests(profile, &fresh);
        *skipped = missing;
    }
    free(vector);
    ki_profile_free(&fresh);
    return status;
}
