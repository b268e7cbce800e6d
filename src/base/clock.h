/* SPDX-License-Identifier: Apache-2.0
 *
 * The monotonic clock. */
#ifndef KI_BASE_CLOCK_H
#define KI_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some moment; never goes back. */
uint64_t ki_now_ns(void);

#endif
