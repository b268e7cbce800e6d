/* SPDX-License-Identifier: Apache-2.0
 *
 * Items by their ids, as far as a key may see them. */
#ifndef KITH_SERVER_NATIVE_LOOK_H
#define KITH_SERVER_NATIVE_LOOK_H

#include "native/inner.h"

typedef struct ks_v1_found {
    const kith_result *result;
    const kith_hits *hits;
    size_t id; /* which of the ids; their count where the key has no segment, as only those that are there are told */
    size_t chunk;    /* which of the reads: the first has 0; hits and result are another read's when it changes */
    ptrdiff_t place; /* among the hits; -1: it is not there, or not for this key */
} ks_v1_found;

typedef void ks_v1_look_fn(void *context, const ks_v1_found *found);

/* Tell of the ids in their order. Blocks. 0, or -1. */
int ks_v1_look(ks_call *call, ks_shop *shop, const kith_ids *ids, unsigned with, uint32_t generation,
               ks_v1_look_fn *each, void *context);

#endif
