/* SPDX-License-Identifier: Apache-2.0
 *
 * The head: rows that are in no sealed segment yet, in memory, searchable as soon as they are published.
 *
 * Rows are numbered by their arrival, 0..capacity-1 (a *serial*). A row has a key, a version, an expiry, a string id, a
 * payload, the declared values of that, and up to one vector of each name. Vectors of a name lie one behind the other
 * in the order of their arrival (a *place*); every sixteen are coded as a block that the scan's kernels read
 * (flat/build.h), and the last few are scored plainly.
 *
 * H1. One writer appends; any number of readers search what was published to them as a count. What lies below a
 *     published count never changes, so readers take no lock. Memory never moves while the head lives.
 * H2. Appended rows are nothing to readers before a count beyond them is published; ki_head_cut forgets them again.
 * H3. Answers equal those of a plain scan over the live rows to the bit, ties by key; with a target recall below 1 some
 *     of the nearest may be missing, never their number: min(k, matches), with the distances of that scan.
 * H4. Who holds a reference (ki_head_hold) may read; the last to let go frees it.
 * H5. One thread at a time links (ki_head_link), beside the writer and the readers. Whatever it did not come to is
 *     scanned: nothing depends on it but time. */
#ifndef KI_HEAD_HEAD_H
#define KI_HEAD_HEAD_H

#include "base/area.h"
#include "filter/schema.h"
#include "flat/flat.h"
#include "head/bits.h"
#include "hnsw/hnsw.h"

typedef struct ki_head ki_head;

#define KI_HEAD_CAPACITY_MAX (UINT32_C(1) << 30)

/* One row on its way in: all is copied. */
typedef struct ki_head_row {
    uint64_t key, version, expires_ms;
    const char *text; /* string id */
    size_t text_bytes;
    const char *payload;
    size_t payload_bytes;
    const ki_values *values;    /* of the head's schema; NULL: all are absent */
    const void *const *vectors; /* one a name of the head, in the stored type; NULL: the row lacks it */
} ki_head_row;

/* specs, schema: copied, and borrowed (the schema outlives the head; NULL: no fields). A spec of dimension 0 stands for
 * no vector: what rows bring of it is left out. capacity: most rows, up to KI_HEAD_CAPACITY_MAX; what they need is
 * reserved at once, and used as they come. */
kith_status ki_head_create(const kith_vector_spec *specs, size_t spec_count, const ki_schema *schema, size_t capacity,
                           ki_head **head, kith_error *error);
ki_head *ki_head_hold(ki_head *head);
void ki_head_release(ki_head *head); /* NULL is fine */

/* KITH_E_LIMIT: full. Vectors were checked by the caller (finite, norm, zero under cosine). */
kith_status ki_head_append(ki_head *head, const ki_head_row *row, kith_error *error);
/* Forget the rows from `count` on, none of which was published. */
void ki_head_cut(ki_head *head, size_t count);
size_t ki_head_count(const ki_head *head); /* appended, published or not: for the writer */
size_t ki_head_capacity(const ki_head *head);
uint64_t ki_head_memory_bytes(const ki_head *head);
uint64_t ki_head_links_bytes(const ki_head *head); /* that links take of these */
const ki_schema *ki_head_schema(const ki_head *head);
/* Whether rows may have vectors like these at number `spec`; of others no row has one. */
int ki_head_takes(const ki_head *head, size_t spec, const kith_vector_spec *like);

/* The newest row of a key, live or not; 0: none. For the writer among all rows, for any thread among the first `count`
 * that were published to it. */
int ki_head_find_writer(const ki_head *head, uint64_t key, uint32_t *serial);
int ki_head_find(const ki_head *head, size_t count, uint64_t key, uint32_t *serial);

/* A published row; what it points to lives as long as the head. */
typedef struct ki_head_view {
    uint64_t key, version, expires_ms;
    const char *text, *payload;
    size_t text_bytes, payload_bytes;
} ki_head_view;
ki_head_view ki_head_row_at(const ki_head *head, uint32_t serial);
uint64_t ki_head_key(const ki_head *head, uint32_t serial);
/* Its vector in the stored type, or NULL: also of a number that the head does not know. */
const void *ki_head_vector(const ki_head *head, size_t spec, uint32_t serial);
/* The same as floats, bits as bytes; 0: the row lacks it. */
int ki_head_read_vector(const ki_head *head, size_t spec, uint32_t serial, void *to);
/* Its declared values. All is borrowed from the head, arrays too: not to be freed, nor filled again. Returns 1. */
int ki_head_values(const ki_head *head, uint32_t serial, ki_values *values);

/* Find the k nearest live rows (`live`: bits by serial, NULL: all of the first `count`) that have vector `spec`, for
 * each query. queries: count x dim floats, checked; for bits count x row bytes. Hits carry keys as labels and serials
 * as positions; query q's begin at hits + q * k, hit_count[q] of them, ascending. k is at least 1. Vectors that are
 * linked may be walked to where a target recall allows it: counts->visited tells. On failure hits and counts are
 * unspecified; a stop status comes without a text. */
typedef struct ki_head_search {
    const ki_head *head;
    size_t spec, count;
    const ki_bits *live;
    const void *queries;
    size_t query_count, k;
    ki_limits limits;
    ki_desk *desk;
    ki_area *area; /* kept from search to search, as the desk */
    ki_counts *counts;
    double target_recall;     /* 0, or 1: exact */
    ki_hnsw_searcher *walker; /* kept likewise; NULL: all is scanned */
} ki_head_search;
kith_status ki_head_run(const ki_head_search *search, ki_hit *hits, size_t *hit_count, kith_error *error);

/* ---- Links (head_graph.c) ---------------------------------------------------------------------------------------- */

/* What scanning the vectors of its first `count` rows takes, about; of the name whose vectors take most. Any thread. */
uint64_t ki_head_scan_ns(const ki_head *head, size_t count);
/* Whether the vectors of a name among the first `count` rows should be linked: they are too few, or nearly all are;
 * once enough searches have scanned what they might have walked; now. Any thread. */
typedef enum ki_head_want { KI_HEAD_LINK_NOT, KI_HEAD_LINK_LATER, KI_HEAD_LINK_NOW } ki_head_want;
ki_head_want ki_head_wants_links(const ki_head *head, size_t spec, size_t count);
/* Link the vectors of the first `count` rows, published, that live; let go of those that died; measure what walks find.
 * *stop non-zero ends it early, as KITH_E_CANCELLED; that and KITH_E_NOMEM leave what was there and may be continued. */
kith_status ki_head_link(ki_head *head, size_t spec, size_t count, const ki_bits *live, const atomic_int *stop,
                         kith_error *error);

#endif
