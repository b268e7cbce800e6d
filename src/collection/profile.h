/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles of a collection: records of its catalog, by name. Their events are made one after the other under `writing`;
 * who reads takes what was committed last. Told in kith.h; what events do: profile/profile.h. */
#ifndef KI_COLLECTION_PROFILE_H
#define KI_COLLECTION_PROFILE_H

#include "profile/profile.h"
#include "state/collection.h"

enum { KI_RECORD_PROFILE = 1 }; /* kind of the catalog's records */

/* The profile of this name; ki_profile_free ends it. KITH_E_NOTFOUND, KITH_E_ARG (the name), KITH_E_CORRUPT (also when
 * it does not fit the collection), KITH_E_VERSION, KITH_E_NOMEM. */
kith_status ki_profile_read(kith_collection *collection, const char *name, ki_profile *profile, kith_error *error);

#endif
