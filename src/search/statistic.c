/* SPDX-License-Identifier: Apache-2.0 */
#include "search/search.h"

#include "base/checked.h"
#include "base/status.h"
#include "index/index.h"
#include "ivf/ivf.h"
#include "search/job.h"

void ki_search_set_round(kith_scratch *scratch, size_t round_bytes) {
    scratch->round_bytes = round_bytes;
}

static kith_status choose_all(const kith_index *index, ki_ivf *ivf, const float *queries, size_t count,
                              float *statistic) {
    atomic_int stop;
    ki_counts counts = {0};
    const size_t dim = index->view.dim;
    atomic_init(&stop, 0);
    const ki_ivf_search search = {.view = &index->view, .k = 1, .nprobe = 1, .rerank = 1, .limits = {.stop = &stop}};
    const size_t most = ki_ivf_round(ivf, &search);
    kith_status status = KITH_OK;
    for (size_t first = 0; first < count && status == KITH_OK; first += most) {
        const size_t step = ki_min_size(most, count - first);
        status = ki_ivf_begin(ivf, &search, queries + first * dim, dim, step);
        if (status == KITH_OK) status = ki_ivf_choose(ivf, 0, 0, step, &counts);
        for (size_t i = 0; i < step && status == KITH_OK; i++) statistic[first + i] = ki_ivf_chosen_statistic(ivf, i);
    }
    return status;
}

kith_status ki_search_statistics(const kith_index *index, const float *queries, size_t count, float *statistic,
                                 kith_error *error) {
    ki_ivf *ivf = ki_ivf_create(1);
    const kith_status status = ivf ? choose_all(index, ivf, queries, count, statistic) : KITH_E_NOMEM;
    ki_ivf_destroy(ivf);
    if (status == KITH_OK) return status;
    return ki_fail(error, status, status == KITH_E_NOMEM ? "out of memory for a search" : "%s: damaged centroids",
                   ki_segment_path(index->segment));
}
