/* SPDX-License-Identifier: Apache-2.0
 *
 * What a change of the catalog says of segments: the bodies (body.h) of those that are new, or lost rows since they
 * were put last. Encoded before the catalog begins, so that its transaction is short.
 *
 * Under `writing`. */
#ifndef KI_WRITE_BODIES_H
#define KI_WRITE_BODIES_H

#include "state/collection.h"

typedef struct ki_bodies {
    uint64_t version; /* of the collection once this is committed */
    size_t count;
    struct ki_bodies_one *one;
} ki_bodies; /* {0} is fine to end */

/* Of the edited state: the body of `made` (NULL: none), and with `deaths` those of all segments that have other dead
 * rows than the catalog says. */
kith_status ki_bodies_encode(const ki_snapshot *state, const ki_sealed *made, int deaths, uint64_t version,
                             ki_bodies *bodies, kith_error *error);
/* Between begin and commit. */
kith_status ki_bodies_put(const ki_bodies *bodies, ki_catalog *catalog, kith_error *error);
/* The catalog has them. */
void ki_bodies_settle(const ki_bodies *bodies);
void ki_bodies_free(ki_bodies *bodies);

#endif
