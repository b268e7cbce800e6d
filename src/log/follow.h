/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeping the current state current: what another process wrote, and what is over. */
#ifndef KI_LOG_FOLLOW_H
#define KI_LOG_FOLLOW_H

#include "state/collection.h"

/* Read only: take over what another process has committed meanwhile. Else nothing. */
kith_status ki_collection_refresh(kith_collection *collection, kith_error *error);
/* Wait until the current version is at least this one. KITH_E_DEADLINE; KITH_E_CANCELLED when `cancelled` (or NULL),
 * which is asked now and then, says so. */
kith_status ki_collection_wait(kith_collection *collection, uint64_t version, uint64_t timeout_ns,
                               int (*cancelled)(void *), void *context, kith_error *error);
/* Items whose time is up live no longer (in memory at once; the maintainer removes them from the catalog). Before every
 * read; costs a look at the clock. */
kith_status ki_collection_expire(kith_collection *collection, kith_error *error);
/* Items whose time is up live no longer, by the state of the catalog that is being read. Under `writing`. */
kith_status ki_state_expire(kith_collection *collection, kith_error *error);

#endif
