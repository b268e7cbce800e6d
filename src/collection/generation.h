/* SPDX-License-Identifier: Apache-2.0
 *
 * The verbs of generations: what their files share. Told in kith.h; the table that they change: generations.h. */
#ifndef KI_COLLECTION_GENERATION_H
#define KI_COLLECTION_GENERATION_H

#include "collection/generations.h"

/* ---- generation.c ------------------------------------------------------------------------------------------------ */

/* Under `writing`: a copy of the current table, to be changed and then published; the caller's to free until then. */
kith_status ki_generation_change(kith_collection *collection, ki_generations **next, kith_error *error);
/* Under `writing`: make it the current table, in the catalog and in memory; taken over, also on failure. */
kith_status ki_generation_publish(kith_collection *collection, ki_generations *next, kith_error *error);

/* ---- generation_check.c ------------------------------------------------------------------------------------------ */

/* As kith_collection_generation_check(), with options that were read. */
kith_status ki_generation_check(kith_collection *collection, uint32_t number,
                                const kith_generation_check_options *options, kith_generation_report *report,
                                kith_error *error);
kith_status ki_generation_check_read(const kith_generation_check_options *given, kith_generation_check_options *options,
                                     kith_error *error);

#endif
