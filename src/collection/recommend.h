/* SPDX-License-Identifier: Apache-2.0
 *
 * What a search does besides searching: queries that come from a profile, items left out that it has seen, results that
 * differ. Steps of kith_collection_search (search.c). */
#ifndef KI_COLLECTION_RECOMMEND_H
#define KI_COLLECTION_RECOMMEND_H

#include "collection/leg.h"
#include "collection/profile.h"

/* A search by a profile; {0}: by none. */
typedef struct ki_recommend {
    ki_profile profile;
    uint64_t serial; /* of what the profile is (hot.h); 0: unknown */
    float *queries;  /* a row a leg */
    double *weight;  /* of the legs: their sum is 1 */
    size_t legs;
    uint64_t *seen; /* keys that are left out, ascending */
    size_t seen_count;
} ki_recommend;

/* Read the profile, suited to the generation; its seen keys where they are left out. Errors as of ki_profile_read() and
 * ki_profile_suit(). */
kith_status ki_recommend_begin(ki_recommend *recommend, kith_collection *collection, const ki_snapshot *snapshot,
                               const ki_generation *generation, const kith_ask *ask, kith_error *error);
/* Make the queries, with a context (checked floats) or NULL. KITH_E_NOTFOUND: it has no interest, and there is no
 * context. */
kith_status ki_recommend_aim(ki_recommend *recommend, const float *context, double blend, const char *name,
                             kith_error *error);
void ki_recommend_end(ki_recommend *recommend); /* {0} is fine */

/* Take what is left out from hits; how many stay. */
size_t ki_recommend_leave_out(const ki_recommend *recommend, ki_leg_hit *hits, size_t count);

/* Choose k of the hits, in the order of their choice (profile/profile.h); *chosen lies in work->spread. */
kith_status ki_recommend_spread(const ki_leg_search *leg, double diversity, const ki_leg_hit *hits, size_t count,
                                ki_search_work *work, const ki_leg_hit **chosen, size_t *found, kith_error *error);

#endif
