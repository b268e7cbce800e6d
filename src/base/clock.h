/* SPDX-License-Identifier: Apache-2.0
 *
 * The monotonic clock, and the processor time used. */
#ifndef KI_BASE_CLOCK_H
#define KI_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some moment; never goes back. */
uint64_t ki_now_ns(void);

/* Nanoseconds of processor time that the calling thread, or all threads of the process, have used. */
uint64_t ki_thread_ns(void);
uint64_t ki_process_ns(void);

#endif
