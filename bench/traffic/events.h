/* SPDX-License-Identifier: Apache-2.0
 *
 * What the generator's owner may look at between two reads. */
#ifndef KITH_TRAFFIC_EVENTS_H
#define KITH_TRAFFIC_EVENTS_H

#include "items.h"

/* The live items as they are after the last event read. */
const struct traffic_catalog *traffic_get_catalog(const struct traffic *traffic);

#endif
