/* SPDX-License-Identifier: Apache-2.0
 *
 * The flat family: every vector is looked at, through codes with proven bounds, and the survivors are scored by the
 * defining kernel. This is the search; building is in build.h.
 *
 * F2. Results equal those of the plain scan bit for bit when originals are present (quant/int8.h B2, level1.h L2).
 * F3. A desk allocates only while it grows; a search like an earlier one allocates nothing.
 *
 * A ki_desk belongs to one worker at a time. */
#ifndef KI_FLAT_FLAT_H
#define KI_FLAT_FLAT_H

#include "kernel/topk.h"
#include "view/view.h"
#include "view/work.h"

/* One query's hits of one range of blocks, or all of them. */
typedef struct ki_flat_search {
    const ki_view *view;
    kith_plan plan; /* PLAIN, SCAN, LEVELS, GATHER or DEVICE */
    size_t k;       /* 0: range search */
    float radius;   /* range search */
    size_t nprobe;  /* SCAN, LEVELS: only so many nearest lists of each query; 0: all. Needs thresholds */
    ki_careful careful;
    const uint64_t *allowed; /* bit per position, or NULL */
    const uint32_t *few;     /* PLAIN, GATHER: or these positions alone, whatever the blocks; NULL: not so */
    size_t few_count;
    ki_limits limits;
    ki_device_fault *fault; /* DEVICE: where a failure of the device is told */
} ki_flat_search;

typedef struct ki_desk ki_desk;

ki_desk *ki_desk_create(void); /* NULL: out of memory */
void ki_desk_destroy(ki_desk *desk);

/* Queries a desk takes at a time for this k, 1.. (memory and cache bound it). */
size_t ki_flat_group(const ki_view *view, size_t k);

/* Search `count` (at most ki_flat_group) queries over blocks first..end. queries: count x dim floats, checked; for bits
 * count x row_bytes. shared: per query the best threshold that other ranges have found, or NULL; worker: 0 polls
 * `cancelled`. Afterwards ki_desk_hits() gives each query's hits: sorted, at most k. Returns OK or the stop status or
 * KITH_E_NOMEM; plan DEVICE, which takes all blocks, also
 * what its backend returned. */
kith_status ki_flat_run(const ki_flat_search *search, ki_desk *desk, const void *queries, size_t count, size_t first,
                        size_t end, _Atomic float *shared, unsigned worker, ki_counts *counts);
const ki_hit *ki_desk_hits(const ki_desk *desk, size_t query, size_t *count);

#endif
