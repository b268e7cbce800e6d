/* SPDX-License-Identifier: Apache-2.0
 *
 * One query against a view: its int8 code, and its distances by the defining kernel. What the families share. Pure
 * functions; any thread. */
#ifndef KI_VIEW_QUERY_H
#define KI_VIEW_QUERY_H

#include "quant/int8.h"
#include "view/view.h"

/* A query against one level: quant/int8.h B2. With residual codes base, and for l2 a and c, are those of the centre of
 * all vectors; ki_query_list_terms() gives a list's. */
typedef struct ki_query_code {
    float scale, base;
    float a, b, c;
    int32_t start;
    int whole; /* estimates are the scores of vectors that are no longer than KI_WHOLE_NORM (quant/int8.h B3) */
} ki_query_code;

/* What the bounds of one (query, list) pair start from. */
typedef struct ki_list_terms {
    float base, a, c;
} ki_list_terms;

/* Fill a code's terms from its facts: quant/int8.h B2, level1.h L2. */
void ki_query_terms(const ki_view *view, const ki_int8_facts *facts, float base, float centre_norm, float kappa,
                    ki_query_code *code);

/* Code a query against the full codes: row gets q' (dim floats), bytes 4*quads of code. inverse: of its norm (cosine),
 * or 1. False when the file's centre makes the query's norm infinite or no number, which no centre of finite vectors
 * does: codes would then be anything. */
int ki_query_encode(const ki_view *view, const float *query, float inverse, float *row, int8_t *bytes,
                    ki_query_code *code);

/* The terms of a query for one list of residual codes. row: q' as ki_query_encode() left it. */
ki_list_terms ki_query_list_terms(const ki_view *view, const ki_query_code *code, const float *query, const float *row,
                                  size_t list);

/* Inverse norm of a query (cosine), or 1: for its code. */
float ki_query_inverse(const ki_view *view, const float *query);
/* Its squared norm as distances take it (cosine), or 1. */
float ki_query_norm2(const ki_view *view, const float *query);

/* Distance of query and stored rows by the defining kernel. norm2: of ki_query_norm2(). */
float ki_query_distance(const ki_view *view, const float *query, float norm2, uint32_t position);
void ki_query_distances4(const ki_view *view, const float *query, float norm2, const uint32_t position[4],
                         float distance[4]);

/* Ask for a stored row before it is read: into the second cache. Rows are many lines, and the first cache takes orders
 * for few at a time: waiting for those costs twice what the longer way does (measured on Zen 4). */
static inline void ki_query_prefetch(const ki_view *view, uint32_t position) {
    const uint8_t *row = view->originals + (size_t)position * view->row_bytes;
    for (size_t line = 0; line < view->row_bytes && line < 2048; line += 64) {
        __builtin_prefetch(row + line, 0, 2);
        __asm__ volatile("" : : "r"(row)); /* or gcc sees a function without effects, and leaves all of it out */
    }
}

/* Score of a distance, rounded so that it is no larger than the score of the defining kernel's result. */
float ki_score_below(kith_metric metric, float distance);
float ki_distance_of_score(kith_metric metric, float score);

/* How near a query is to its nearest centroid, larger is nearer: -|q-c|^2/2 (l2), <q,c>/|q| (ip), the cosine. best: the
 * centroid's score. */
float ki_query_statistic(const ki_view *view, float best, float query_norm);

#endif
