/* SPDX-License-Identifier: Apache-2.0
 *
 * The settings of an empty collection. */
#ifndef KI_COLLECTION_CREATE_H
#define KI_COLLECTION_CREATE_H

#include "state/collection.h"

/* Put them into a catalog that was just made, in a change of its own. */
kith_status ki_create_settings(ki_catalog *catalog, const ki_made *made, const ki_schema *schema, kith_error *error);

#endif
