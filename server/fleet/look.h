/* SPDX-License-Identifier: Apache-2.0
 *
 * What servers say of themselves at /v1/stats: how busy they are, what waits, how long answers take. */
#ifndef KITH_SERVER_FLEET_LOOK_H
#define KITH_SERVER_FLEET_LOOK_H

#include "fleet/scale.h"
#include "kith.h"

typedef struct ks_look {
    const char *servers; /* a list as of ks_fleet_options.backends; a name with several addresses is as many servers */
    const char *key;     /* sent as "Authorization: Bearer ..."; NULL: none */
    uint64_t timeout_ms; /* of each server */
} ks_look;

/* Ask all of them, one after the other. What does not answer is left out of *sample, and *asked counts it. In *silent
 * stands why one did not answer, empty when all did. Only a list that cannot be read is a failure: names without an
 * address are servers that do not answer. Blocks. */
kith_status ks_look_at(const ks_look *look, double time_s, ks_scale_sample *sample, unsigned *asked,
                       char silent[KITH_ERROR_TEXT_BYTES], kith_error *error);

/* The figures of one body; 0, or -1: it is not what /v1/stats says. Adds to the sums in *sample. */
int ks_look_read(const char *body, size_t bytes, ks_scale_sample *sample);

#endif
