/* SPDX-License-Identifier: Apache-2.0 */
#include "search/job.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"

#include <math.h>
#include <string.h>

static void note_bad_query(ki_job *job, size_t query, ki_row_fault fault) {
    const uint64_t bad = (uint64_t)query * KI_FAULTS + fault;
    uint64_t lowest = atomic_load(&job->bad);
    while (bad < lowest && !atomic_compare_exchange_weak(&job->bad, &lowest, bad)) {
    }
    ki_job_stop(job, KITH_E_DATA);
}

int ki_job_check(ki_job *job, size_t first, size_t count, const float *rows, size_t stride) {
    const ki_view *view = &job->index->view;
    for (size_t i = 0; i < count; i++) {
        double norm2;
        const ki_row_fault fault = ki_row_check(view->metric, KITH_F32, rows + i * stride, view->dim, &norm2);
        if (fault == KI_ROW_FINE) continue;
        note_bad_query(job, ki_job_query(job, first + i), fault);
        return 0;
    }
    return 1;
}

const float *ki_job_floats(const ki_job *job, size_t first, size_t *stride) {
    const uint8_t *from = (const uint8_t *)job->queries->data + first * job->stride;
    if (job->queries->dtype != KITH_F32 || job->stride % sizeof(float) || (uintptr_t)from % _Alignof(float))
        return NULL;
    *stride = job->stride / sizeof(float);
    return (const float *)(const void *)from;
}

int ki_job_load(ki_job *job, size_t first, size_t count, void *to) {
    const ki_view *view = &job->index->view;
    const size_t row = view->dtype == KITH_B1 ? view->row_bytes : view->dim * sizeof(float);
    uint8_t *out = to;
    for (size_t i = 0; i < count; i++, out += row) {
        const uint8_t *from = (const uint8_t *)job->queries->data + ki_job_query(job, first + i) * job->stride;
        if (view->dtype == KITH_B1)
            memcpy(out, from, row);
        else
            ki_distance()->to_f32[job->queries->dtype](from, view->dim, (float *)(void *)out);
    }
    return view->dtype == KITH_B1 || ki_job_check(job, first, count, to, view->dim);
}

void ki_job_write(ki_job *job, size_t i, const ki_hit *hits, size_t count) {
    const size_t query = ki_job_query(job, i);
    uint64_t *ids = job->ids + query * job->k;
    float *distances = job->distances + query * job->k;
    for (size_t h = 0; h < job->k; h++) {
        ids[h] = h < count ? hits[h].label : KITH_ID_NONE;
        distances[h] = h < count ? hits[h].distance : INFINITY;
    }
    if (job->poor && count < ki_min_u64(job->k, job->allowed))
        job->poor[atomic_fetch_add(&job->poor_count, 1)] = (uint32_t)i;
}

kith_status ki_job_fail(const ki_job *job, kith_status status, kith_error *error) {
    static const char *const why[] = {"", "holds a NaN or an infinity", "is longer than 2^62, the largest norm",
                                      "is a zero vector (norm below 2^-40), which has no cosine"};
    switch (status) {
    case KITH_E_DATA:
        return ki_fail(error, status, "query %llu %s", (unsigned long long)(atomic_load(&job->bad) / KI_FAULTS),
                       why[atomic_load(&job->bad) % KI_FAULTS]);
    case KITH_E_DEADLINE:
        return ki_fail(error, status, "the search's time was up");
    case KITH_E_CANCELLED:
        return ki_fail(error, status, "the search was cancelled");
    case KITH_E_CORRUPT:
        if (!ki_segment_damaged(job->index->segment))
            return ki_fail(error, status,
                           "%s: section 'centroids' or 'level1_basis' holds what no vectors could have made",
                           ki_segment_path(job->index->segment));
        return ki_fail(error, status, "%s: the file was truncated, overwritten or lost pages while it was open",
                       ki_segment_path(job->index->segment));
    default:
        return ki_fail(error, status, "out of memory for the search");
    }
}
