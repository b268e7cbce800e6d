/* SPDX-License-Identifier: Apache-2.0
 *
 * Upkeep of a collection: what is sealed, merged, indexed and removed behind its writers. The face of this room; jobs
 * are in seal.h, who does them and when in maintain.h. Writers and readers stand below, and wake it by
 * kith_collection.wake. */
#ifndef KI_UPKEEP_UPKEEP_H
#define KI_UPKEEP_UPKEEP_H

#include "state/collection.h"

/* Begin background work, if the options allow it; what it knows of itself is there in any case. */
kith_status ki_maintain_start(kith_collection *collection, kith_error *error);
void ki_maintain_stop(kith_collection *collection); /* also where none was started */
/* Something was published, or the head is large: look whether there is work. Any thread that holds no lock of the
 * collection. Cheap; but with no_background heads that are full are sealed here, by the caller, and a failure is
 * trouble of ki_maintain_info. */
void ki_maintain_wake(kith_collection *collection);
/* Fills in working, work, work_done, work_total and trouble. */
void ki_maintain_info(kith_collection *collection, kith_collection_info *info);
/* Index declared fields now, on the calling thread, which holds no lock: for declarations with no_background. */
kith_status ki_maintain_fields(kith_collection *collection, kith_error *error);
/* Likewise: give up the vectors of generations that were dropped. */
kith_status ki_maintain_slots(kith_collection *collection, kith_error *error);

#endif
