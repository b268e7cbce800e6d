/* SPDX-License-Identifier: Apache-2.0
 *
 * What every search over a view is handed and gives back, whatever the family: limits, queries to be served with more
 * care, and counts of what was done. */
#ifndef KI_VIEW_WORK_H
#define KI_VIEW_WORK_H

#include "base/clock.h"
#include "kith.h"

#include <stdatomic.h>

/* What ends a search before its time. Any thread. */
typedef struct ki_limits {
    uint64_t deadline_ns;     /* 0: none */
    atomic_int *stop;         /* becomes a kith_status */
    int (*cancelled)(void *); /* NULL, or asked by worker 0 only */
    void *cancelled_context;
} ki_limits;

/* To be polled: KITH_OK, or why the search must stop, which `stop` is from then on. */
static inline kith_status ki_limits_reached(const ki_limits *limits, unsigned worker) {
    const int stop = atomic_load_explicit(limits->stop, memory_order_relaxed);
    if (stop) return (kith_status)stop;
    kith_status status = KITH_OK;
    if (limits->deadline_ns && ki_now_ns() > limits->deadline_ns) status = KITH_E_DEADLINE;
    if (!status && worker == 0 && limits->cancelled && limits->cancelled(limits->cancelled_context))
        status = KITH_E_CANCELLED;
    if (status) atomic_store_explicit(limits->stop, (int)status, memory_order_relaxed);
    return status;
}

/* Queries whose statistic is below a bound are unlike those that nprobe was chosen for, and probe more lists. */
typedef struct ki_careful {
    float below;   /* of ki_query_statistic() */
    size_t nprobe; /* 0: no query is served so */
} ki_careful;

/* How a device failed that several workers use: the first of them tells it. */
typedef struct ki_device_fault {
    atomic_int told;
    kith_error error; /* read after all workers have stopped */
} ki_device_fault;

static inline void ki_device_fault_tell(ki_device_fault *fault, const kith_error *how) {
    int told = 0;
    if (atomic_compare_exchange_strong(&fault->told, &told, 1)) fault->error = *how;
}

/* What one worker did; summed by the caller. */
typedef struct ki_counts {
    uint64_t scanned_bytes, scanned_rows, probed_lists, unusual, level1_survivors, candidates, reranked, visited;
    uint64_t stage_ns[KITH_STAGES];
    uint64_t device_ns[3]; /* upload, compute, download */
} ki_counts;

#endif
