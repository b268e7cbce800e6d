/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at a generation, which a flip does too. Told in kith.h; the table: state/generations.h. */
#ifndef KI_COLLECTION_GENERATION_H
#define KI_COLLECTION_GENERATION_H

#include "state/collection.h"

/* As kith_collection_generation_check(), with options that were read. */
kith_status ki_generation_check(kith_collection *collection, uint32_t number,
                                const kith_generation_check_options *options, kith_generation_report *report,
                                kith_error *error);
kith_status ki_generation_check_read(const kith_generation_check_options *given, kith_generation_check_options *options,
                                     kith_error *error);

#endif
