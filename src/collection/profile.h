/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles of a collection: records of its catalog, by name. Their events are made one after the other under `writing`;
 * who reads takes what was committed last. Told in kith.h; what events do: profile/profile.h. */
#ifndef KI_COLLECTION_PROFILE_H
#define KI_COLLECTION_PROFILE_H

#include "collection/generations.h"
#include "profile/profile.h"

enum { KI_RECORD_PROFILE = 1 }; /* kind of the catalog's records */

/* Whether a profile is of the vectors that a generation has of its name: its interests are sought among those only.
 * KITH_E_ARG says what to do; KITH_E_CORRUPT. */
kith_status ki_profile_fits(const ki_generations *generations, const ki_generation *generation, const char *name,
                            const ki_profile *profile, kith_error *error);

/* The profile of this name; ki_profile_free ends it. KITH_E_NOTFOUND, KITH_E_ARG (the name), KITH_E_CORRUPT,
 * KITH_E_VERSION, KITH_E_NOMEM. */
kith_status ki_profile_read(kith_collection *collection, const char *name, ki_profile *profile, kith_error *error);

#endif
