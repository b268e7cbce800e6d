/* SPDX-License-Identifier: Apache-2.0
 *
 * What share of the true neighbours the last searches found, and how sure that is. */
#ifndef KITH_SERVER_WATCH_INTERVAL_H
#define KITH_SERVER_WATCH_INTERVAL_H

#include <stddef.h>
#include <stdint.h>

enum { KS_WINDOW = 1000 }; /* checked searches that are remembered: older ones no longer count */

typedef struct ks_window {
    uint16_t found[KS_WINDOW], sought[KS_WINDOW]; /* a ring */
    size_t used, next;
    uint64_t checked; /* so far */
} ks_window;

/* found of sought results were right; sought 0: not counted. */
void ks_window_add(ks_window *window, size_t found, size_t sought);
/* 0 when nothing was added. The bounds are those of a confidence of 95 %. */
int ks_window_interval(const ks_window *window, double *mean, double *low, double *high);

#endif
