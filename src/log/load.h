/* SPDX-License-Identifier: Apache-2.0
 *
 * From the catalog to a snapshot: what opening and following share. */
#ifndef KI_LOG_LOAD_H
#define KI_LOG_LOAD_H

#include "state/collection.h"
#include "state/made.h"

/* Make the current snapshot of what the catalog holds, and set the numbers. Where the segments are as they were (the
 * edition), only the end of the log is read. Under `writing`, or before anybody else knows the collection. */
kith_status ki_state_load(kith_collection *collection, kith_error *error);

/* Put the schema among those that the collection keeps; taken over on success. */
kith_status ki_state_keep_schema(kith_collection *collection, ki_schema *schema, kith_error *error);
/* Likewise a table of generations. */
kith_status ki_state_keep_generations(kith_collection *collection, ki_generations *generations, kith_error *error);

#endif
