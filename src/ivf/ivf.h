/* SPDX-License-Identifier: Apache-2.0
 *
 * The ivf plan: many queries at once against the lists nearest to each [Jegou, Douze, Schmid 2011; grouping by list as
 * in a matrix product].
 *
 *   choose   queries are coded, scored against all centroids by the tile kernel, and each takes its nprobe nearest
 *            lists; where lists are many, against the centroids of the supers nearest to each
 *   group    the (query, list) pairs are sorted by list
 *   scan     list by list, panels of the queries that probe it meet the list's codes, and then those of the vectors
 *            whose second list it is; what reaches a query's threshold becomes a candidate
 *   finish   each query's best candidates are scored by the defining kernel, and the k nearest of them are its result
 *
 * Each step is cut into pieces that any worker may take: queries in choose and finish, lists in scan.
 *
 * Second lists [SOAR: Sun, Simcha, Dopson, Guo, Kumar 2023]: see view/view.h ki_second_lists.
 *
 * V1. Results do not depend on the number of workers or the order of pieces: a threshold is always a proven lower bound
 *     of the rerank-th best estimate among the probed vectors, and the rerank best by (estimate, position) are taken.
 *     A query's estimates leave out what all vectors have in common (code.base), so that they keep their digits.
 * V2. Estimates decide who is scored; distances returned are the defining kernel's, unless there are no originals.
 * V3. A query that found fewer than k of its allowed vectors is reported, for the caller to search exactly.
 * V4. Memory belongs to the ki_ivf and only grows.
 * V5. A vector is a candidate of a query once: in its second list it is passed over where the query probes the first.
 * V6. With a filter (ki_ivf_share) a query whose nearest lists hold clearly fewer of the allowed vectors than their
 *     share is *thin*: the lists that were measured are not its lists. It probes the nearest of those that hold any,
 *     for a threshold, and is left to the caller to be searched exactly. Where its lists hold more than their share, as
 *     many are left out as that makes needless.
 *
 * V7. An index of one list (plan pq) is scanned by its second code alone: what stands for lists are strips of its
 *     blocks, all of which every query probes.
 *
 * A ki_ivf serves one search at a time; its steps take pieces of distinct workers side by side. */
#ifndef KI_IVF_IVF_H
#define KI_IVF_IVF_H

#include "kernel/topk.h"
#include "view/view.h"
#include "view/work.h"

/* What a filter leaves of the lists, and what was measured of that. */
typedef struct ki_ivf_share {
    const uint32_t *list_counts; /* allowed vectors of each list; NULL: no query is thin, and all probe alike */
    double presumed;             /* the share of vectors allowed; 0: all probe the nearest lists that hold some */
    size_t least;                /* lists that a query probes where all are allowed; nprobe, where `presumed` are */
} ki_ivf_share;

typedef struct ki_ivf_search {
    const ki_view *view;
    kith_scan_code code;      /* INT8, SECOND, FIRST or ROWS */
    int first_lists_only;     /* leave second lists out: what is found must lie in the probed lists */
    size_t k, nprobe, rerank; /* rerank >= k */
    double fewer;             /* the share of queries that probe one list less; which, their codes decide */
    size_t round_bytes;       /* what a round's queries may take, about; 0: as much as is good for speed */
    ki_careful careful;
    const uint64_t *allowed; /* bit per position, or NULL */
    ki_ivf_share share;
    ki_limits limits;
    ki_device_fault *fault; /* where a failure of a device is told */
} ki_ivf_search;

typedef struct ki_ivf ki_ivf;

ki_ivf *ki_ivf_create(unsigned workers); /* NULL: out of memory */
void ki_ivf_destroy(ki_ivf *ivf);

/* Queries of one round, 1..: memory bounds it. */
size_t ki_ivf_round(const ki_ivf *ivf, const ki_ivf_search *search);

/* Make ready for `count` queries, stride floats apart; both borrowed until the round is over. KITH_E_NOMEM or OK. */
kith_status ki_ivf_begin(ki_ivf *ivf, const ki_ivf_search *search, const float *queries, size_t stride, size_t count);

/* Queries, 1.., that one call of choose had best take, after begin. */
size_t ki_ivf_step(const ki_ivf *ivf);

/* Queries first..first+count choose their lists; they must have been checked. KITH_E_CORRUPT: the file's centre is none
 * that vectors could have made; or the stop status. */
kith_status ki_ivf_choose(ki_ivf *ivf, unsigned worker, size_t first, size_t count, ki_counts *counts);

/* The statistic of a query that has chosen. */
float ki_ivf_chosen_statistic(const ki_ivf *ivf, size_t query);

/* V6, of a query that has chosen. */
int ki_ivf_is_thin(const ki_ivf *ivf, size_t query);

/* After all have chosen. */
void ki_ivf_group(ki_ivf *ivf);

/* Whether devices hold what the search scans. */
int ki_ivf_fits_device(const ki_ivf_search *search);

/* Scan all lists on devices, after they were grouped; what is left for ki_ivf_scan() then, it knows. OK, KITH_E_NOMEM,
 * the stop status or what a backend returned. */
kith_status ki_ivf_scan_on_device(ki_ivf *ivf, ki_counts *counts);

/* Lists to scan, or strips (V7). */
size_t ki_ivf_lists(const ki_ivf *ivf);

/* Lists first..end. OK or the stop status. */
kith_status ki_ivf_scan(ki_ivf *ivf, unsigned worker, size_t first, size_t end, ki_counts *counts);

/* After all lists: the hits of one query, sorted, at most k; they live until the worker's next call. next: the query
 * that this worker will finish after it, whose vectors are fetched meanwhile; SIZE_MAX: none. */
const ki_hit *ki_ivf_finish(ki_ivf *ivf, unsigned worker, size_t query, size_t next, size_t *count, ki_counts *counts);

#endif
