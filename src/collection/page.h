/* SPDX-License-Identifier: Apache-2.0
 *
 * Searches whose answers are kept (state/pages.h): looked for before they are searched, kept afterwards.
 *
 * One search at a time. */
#ifndef KI_COLLECTION_PAGE_H
#define KI_COLLECTION_PAGE_H

#include "base/area.h"
#include "state/pages.h"

/* A leg, resolved and checked. */
typedef struct ki_asked_leg {
    kith_queries queries;
    size_t spec; /* slot: it names the generation too (pages.h P8) */
    double weight;
} ki_asked_leg;

struct kith_result;

typedef struct ki_page_search {
    kith_collection *collection;
    const kith_ask *ask; /* checked */
    const ki_asked_leg *legs;
    size_t leg_count;
    uint64_t profile; /* its serial (state/hot.h T4), where the search is by one */
    ki_area *memory;  /* for the key */
    size_t key_bytes;
    uint64_t edits; /* that were begun or ended before the snapshot was taken */
} ki_page_search;

/* Before the snapshot is taken (pages.h P5); then, with the legs. 0: this search is not kept, and the calls below are
 * not for it. */
void ki_page_begin(ki_page_search *search);
int ki_page_may_be(ki_page_search *search);
/* With the snapshot held, and the result begun: whether there is a page. If so it is in the result, and what is to be
 * told of it in the report. */
int ki_page_find(ki_page_search *search, const ki_snapshot *snapshot, struct kith_result *result,
                 kith_ask_report *report, kith_explain *explain);
/* What was found is worth keeping. A failure is none: it is not kept. */
void ki_page_keep(const ki_page_search *search, const struct kith_result *result, const kith_ask_report *report,
                  const kith_explain *explain);

#endif
