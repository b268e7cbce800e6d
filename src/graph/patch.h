/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows as they would be if some vertices were not in the graph. When it was pruned, an edge from u to v fell where some
 * neighbour of u is nearer to v than u is (prune.c). Where that neighbour is to be thought absent, the edge would have
 * stayed: a walk that just leaves the absent out meets holes that a graph built without them has not. Recall of stored
 * vectors that are held out came out too low so: of words .88 where vectors that are new to the graph get .92.
 *
 * What stands in for which edge is remembered: the same rows are asked for with every effort that is measured.
 *
 * One user at a time. */
#ifndef KI_GRAPH_PATCH_H
#define KI_GRAPH_PATCH_H

#include "graph/graph.h"

typedef struct ki_graph_patches ki_graph_patches;

ki_graph_patches *ki_graph_patches_create(void);          /* NULL: out of memory */
void ki_graph_patches_destroy(ki_graph_patches *patches); /* NULL is fine */

/* The row of a vertex where what is not allowed (there is a filter) is absent: the one of the graph, or one that lasts
 * until the next call, in which each edge to an absent vertex is one that it stood in for, or none. Searches with equal
 * search->absent must agree in what is allowed, and in the graph. NULL: out of memory. */
const uint8_t *ki_graph_patched(ki_graph_patches *patches, const ki_graph_search *search, uint32_t vertex);

#endif
