/* SPDX-License-Identifier: Apache-2.0
 *
 * A family: hash tables. A query looks into the buckets where its neighbours are likeliest, and what it finds there is
 * scored by the defining kernel.
 *
 *   numbers   cross-polytopes with fast rotations and multi-probe [Andoni, Indyk, Laarhoven, Razenshteyn, Schmidt 2015]
 *   hamming   samples of bits [Indyk, Motwani 1998], probed with some of the bits flipped
 *   jaccard   minima of permutations [Broder 1997] by one permutation a table [Li, Owen, Zhang 2012], whose empty bins
 *             borrow [Shrivastava 2017], probed with the next minima
 *
 * Departures. All functions of a table have the same reach, chosen so that possible keys are about as many as buckets,
 * and a rotation serves as many functions as fit in it side by side. Buckets of all tables are probed in one order, by
 * the likelihood that a neighbour is there (perturbing sets by shifting and expanding [Lv, Josephson, Wang, Charikar,
 * Li 2007]), so that tables which say little about a query are asked less. A dimension is added to vectors under ip,
 * which puts them on a sphere [Bachrach et al. 2014]; l2 hashes directions from the centre.
 *
 * L1. Results do not depend on other queries, nor on threads or tier: hashing takes rotations and sums in fixed order.
 * L2. Candidates of an effort are candidates of every larger one: recall does not fall.
 * L3. Whatever the tables hold, nothing outside of the view is read; what is out of bounds is passed over.
 * L4. Memory belongs to the ki_lsh_desk and only grows.
 *
 * A ki_lsh_desk belongs to one worker at a time. */
#ifndef KI_LSH_LSH_H
#define KI_LSH_LSH_H

#include "kernel/topk.h"
#include "view/view.h"
#include "view/work.h"

typedef struct ki_lsh_search {
    const ki_view *view; /* with tables and originals */
    size_t k;
    size_t effort;           /* buckets of each table, on average; 1.. */
    const uint64_t *allowed; /* bit per position, or NULL */
    ki_limits limits;
} ki_lsh_search;

typedef struct ki_lsh_desk ki_lsh_desk;

ki_lsh_desk *ki_lsh_desk_create(void); /* NULL: out of memory */
void ki_lsh_desk_destroy(ki_lsh_desk *desk);

/* Answer one query, floats or bits, checked. *hits: sorted, at most k, in the desk until its next call; fewer than
 * there are where buckets held fewer. OK, KITH_E_NOMEM, or the stop status. */
kith_status ki_lsh_find(ki_lsh_desk *desk, const ki_lsh_search *search, const void *query, const ki_hit **hits,
                        size_t *count, ki_counts *counts, unsigned worker);

#endif
