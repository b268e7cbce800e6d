/* SPDX-License-Identifier: Apache-2.0 */
#include "stats.h"

#include <math.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void stats_sort(uint64_t *samples, size_t count) {
    qsort(samples, count, sizeof(*samples), compare);
}

uint64_t stats_percentile(const uint64_t *sorted, size_t count, double percent) {
    /* The small subtraction undoes what 99.9 / 100 * 1000 gains by rounding, which would take the next rank. */
    const double rank = ceil(percent / 100.0 * (double)count - 1e-9);
    const size_t place = rank < 1 ? 0 : (size_t)rank - 1;
    return sorted[place < count ? place : count - 1];
}

double stats_mean(const uint64_t *samples, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += (double)samples[i];
    return count ? sum / (double)count : 0;
}
