/* SPDX-License-Identifier: Apache-2.0
 *
 * Times as text: RFC 3339, and shorter: a date alone is its midnight, seconds may be left out, and without an offset
 * it is UTC. Milliseconds since 1970; finer digits are dropped, and a leap second is the one that follows it. */
#ifndef KI_FILTER_TIME_H
#define KI_FILTER_TIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

bool ki_time_parse(const char *text, size_t bytes, int64_t *ms);

#endif
