/* SPDX-License-Identifier: Apache-2.0
 *
 * A search that was answered, copied so that it can be asked again, exactly; and what comes of that.
 *
 * What is right. A result counts when its distance is at most that of the last one of the true answer: so of items at
 * the same distance any is right. When something was written between the two searches, the items that were written or
 * removed since (their version is later, or they are gone) are left out on both sides: what is left of the answer
 * should be the nearest of those that are left. Without such items, and without misses, that is the plain comparison;
 * and a collection that is written to all the time has its recall too. */
#ifndef KITH_SERVER_WATCH_SAMPLE_H
#define KITH_SERVER_WATCH_SAMPLE_H

#include "run/run.h"

enum { KS_SAMPLE_BYTES_MAX = 512 * 1024 };

/* All its pointers lead into the one block of memory that it is. */
typedef struct ks_sample {
    unsigned shop;
    char name[KS_NAME_MAX + 1];
    uint64_t version;
    uint32_t generation;
    int exact; /* it was answered exactly, or so the library says */
    kith_id_kind id_kind;
    size_t k;
    const char *filter, *segment, *vector; /* NULL where none was named */
    const void *query;
    kith_dtype dtype;
    size_t dim;
    size_t count; /* found */
    const float *distances;
    kith_ids ids; /* of what was found; with string ids also `numbers` */
    const uint64_t *numbers;
} ks_sample;

/* Whether a search is one that can be asked again: one vector, no profile, no more than is copied. */
int ks_sample_fits(const ks_search *search, const ks_found *found);
/* Copy a query (its number within the search) and its answer. NULL without memory. To be freed by free(). */
ks_sample *ks_sample_copy(const ks_search *search, const ks_found *found, size_t query);

/* An item of an answer: whether it is still as it was, and its distance. */
typedef struct ks_seen {
    float distance;
    int unchanged;
} ks_seen;

/* Compare an answer with the true one, both ascending. complete: truth has all that match, else the nearest ones only.
 * Sets *right of *sought (0: there was nothing to find); 0: it cannot be told any more. */
int ks_sample_judge(const ks_seen *found, size_t found_count, const ks_seen *truth, size_t truth_count, int complete,
                    size_t k, size_t *right, size_t *sought);

typedef enum ks_verdict { KS_CHECKED, KS_STALE, KS_FAILED } ks_verdict;

typedef struct ks_again {
    kith_result *truth, *now; /* reused */
    int (*cancelled)(void *context);
    void *cancelled_context;
} ks_again;

/* Ask again, and compare. FAILED: *error says why. */
ks_verdict ks_sample_check(const ks_sample *sample, kith_collection *collection, const ks_again *again, size_t *right,
                           size_t *sought, kith_error *error);

#endif
