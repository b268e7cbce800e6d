/* SPDX-License-Identifier: Apache-2.0
 *
 * When calls came, from a file: a trace of bench/traffic (its queries), or text with "seconds,calls" a line, such as
 * what Prometheus says of a counter: so many calls came in the time from this line to the next, at random.
 *
 * Nothing of the file is believed: sizes, counts and the order of times are checked as they are read. */
#ifndef KITH_SERVER_FLEET_ARRIVALS_H
#define KITH_SERVER_FLEET_ARRIVALS_H

#include "kith.h"

typedef struct ks_arrivals ks_arrivals;

/* times: so many calls for one of the file, 1 to 100,000. With more than one, those of a trace are taken minute by
 * minute and spread over it at random: so many copies of one call at its very moment would be a burst that never was. */
kith_status ks_arrivals_open(const char *path, unsigned times, ks_arrivals **arrivals, kith_error *error);
/* The next one's time in seconds from the first, in *time_s: 1. 0: there are no more. -1: *error says why. */
int ks_arrivals_next(ks_arrivals *arrivals, double *time_s, kith_error *error);
/* Begin anew. */
void ks_arrivals_rewind(ks_arrivals *arrivals);
void ks_arrivals_close(ks_arrivals *arrivals); /* NULL is fine */

#endif
