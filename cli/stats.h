/* SPDX-License-Identifier: Apache-2.0
 *
 * Percentiles of samples. The p-th percentile is the nearest-rank one: the smallest sample that at least p percent of
 * the samples do not exceed. No value is invented between two samples. */
#ifndef KITH_CLI_STATS_H
#define KITH_CLI_STATS_H

#include <stddef.h>
#include <stdint.h>

void stats_sort(uint64_t *samples, size_t count);
/* samples: sorted, at least one; percent 0..100. */
uint64_t stats_percentile(const uint64_t *sorted, size_t count, double percent);
double stats_mean(const uint64_t *samples, size_t count);

#endif
