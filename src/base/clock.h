/* SPDX-License-Identifier: Apache-2.0
 *
 * The monotonic clock, the time of day, and the processor time used. */
#ifndef KI_BASE_CLOCK_H
#define KI_BASE_CLOCK_H

#include <stdint.h>

/* Nanoseconds since some moment; never goes back. */
uint64_t ki_now_ns(void);

/* Milliseconds since 1970, as the system's clock has them: it may be set back. */
uint64_t ki_wall_ms(void);

/* Nanoseconds of processor time that the calling thread, or all threads of the process, have used. */
uint64_t ki_thread_ns(void);
uint64_t ki_process_ns(void);

#endif
