/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing the table of generations (state/generations.h): each change is a new table, in one transaction of the
 * catalog.
 *
 * Under `writing`. */
#ifndef KI_WRITE_GENERATION_H
#define KI_WRITE_GENERATION_H

#include "state/collection.h"

/* A copy of the current table, to be changed and then published; the caller's to free until then. */
kith_status ki_generation_change(kith_collection *collection, ki_generations **next, kith_error *error);
/* Make it the current table, in the catalog and in memory; taken over, also on failure. */
kith_status ki_generation_publish(kith_collection *collection, ki_generations *next, kith_error *error);

#endif
