/* SPDX-License-Identifier: Apache-2.0
 *
 * What other rooms of the library ask of searching beside kith.h. */
#ifndef KI_SEARCH_SEARCH_H
#define KI_SEARCH_SEARCH_H

#include "search/planner.h"

/* What the queries of one round may take in a scratch's searches by lists, about; 0: as much as is good for speed. */
void ki_search_set_round(kith_scratch *scratch, size_t round_bytes);

/* ki_query_statistic() of float queries, packed: how near each is to its nearest list. On the calling thread.
 * KITH_E_NOMEM; KITH_E_CORRUPT: the file's centroids are damaged. */
kith_status ki_search_statistics(const kith_index *index, const float *queries, size_t count, float *statistic,
                                 kith_error *error);

/* How ki_search_as() is asked. options are today's; ids and distances have room for k of each query. */
typedef struct ki_search_case {
    const kith_index *index;
    kith_scratch *scratch;
    kith_queries queries; /* some */
    size_t k;
    const kith_search_options *options;
    uint64_t *ids;
    float *distances;
} ki_search_case;

/* kith_search() as if the planner had given this answer; NULL: it is asked as ever. */
kith_status ki_search_as(const ki_search_case *search, const ki_answer *answer, kith_error *error);

#endif
