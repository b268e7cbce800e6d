/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles of a collection: records of its catalog, by name. Their events are made one after the other under `writing`;
 * who reads takes what was committed last. Told in kith.h; what events do: profile/profile.h. */
#ifndef KI_COLLECTION_PROFILE_H
#define KI_COLLECTION_PROFILE_H

#include "profile/profile.h"
#include "state/collection.h"
#include "state/generations.h"

/* The profile of this name; ki_profile_free ends it. KITH_E_NOTFOUND, KITH_E_ARG (the name), KITH_E_CORRUPT (also when
 * it does not fit the collection), KITH_E_VERSION, KITH_E_NOMEM. */
/* *serial: of what it is (hot.h), 0: unknown; NULL: not asked for. */
kith_status ki_profile_read(kith_collection *collection, const char *name, ki_profile *profile, uint64_t *serial,
                            kith_error *error);
kith_status ki_profile_check_name(const char *name, kith_error *error);

/* Make a profile anew for the vectors that a generation has of its name, of the events that it remembers and the items'
 * vectors in a state; nothing is written. Events whose item is gone or lacks the vector are counted in *skipped.
 * KITH_E_ARG (a vector of bits), KITH_E_NOMEM, and what reading a vector fails with: the profile is as it was. */
kith_status ki_profile_again_in(const ki_snapshot *snapshot, const ki_generation *generation, ki_profile *profile,
                                uint64_t *skipped, kith_error *error);
/* The same only if it was made of another generation's vectors: what is asked or told in this one needs that.
 * KITH_E_CORRUPT: it has another shape than its vectors. */
kith_status ki_profile_suit(const ki_snapshot *snapshot, const ki_generation *generation, const char *name,
                            ki_profile *profile, kith_error *error);

#endif
