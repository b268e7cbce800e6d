/* SPDX-License-Identifier: Apache-2.0
 *
 * Qdrant's REST, as its clients use it. */
#ifndef KITH_SERVER_QDRANT_QDRANT_H
#define KITH_SERVER_QDRANT_QDRANT_H

#include "app.h"

extern const ks_family ks_qdrant_family;

#endif
