/* SPDX-License-Identifier: Apache-2.0 */
#include "search/poor.h"

#include "search/exact.h"
#include "view/query.h"

#include <math.h>
#include <stdlib.h>

int ki_poor_begin(ki_job *job, size_t count) {
    job->poor = ki_area_grow(&job->scratch->poor, count, sizeof(uint32_t));
    atomic_store(&job->poor_count, 0);
    return job->poor != NULL;
}

void ki_poor_seed(const ki_job *job, size_t i, const ki_hit *hits, size_t count) {
    const float seed = count == job->k ? ki_score_below(job->index->view.metric, hits[count - 1].distance) : -INFINITY;
    atomic_init((_Atomic float *)job->scratch->shared.data + i, seed);
}

static int compare_numbers(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

kith_status ki_poor_search(ki_job *job, size_t first) {
    _Atomic float *seed = job->scratch->shared.data;
    const size_t count = atomic_load(&job->poor_count);
    uint32_t *poor = job->poor;
    const size_t nprobe = job->search.nprobe;
    if (!poor || !count) return KITH_OK;
    qsort(poor, count, sizeof(*poor), compare_numbers);
    job->which = poor;
    job->poor = NULL;
    job->search.nprobe = 0;
    job->seeded = job->index->view.originals && !job->levels;
    for (size_t i = 0; i < count && job->seeded; i++) atomic_init(&seed[i], atomic_load(&seed[poor[i] - first]));
    const kith_status status = ki_exact_run(job, 0, count);
    job->seeded = 0;
    job->search.nprobe = nprobe;
    job->poor = poor;
    job->which = NULL;
    return status;
}
