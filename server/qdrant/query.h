/* SPDX-License-Identifier: Apache-2.0
 *
 * Queries: parsed by query.c (examples.c where points stand for vectors), run by run_query.c.
 *
 * 1. A query has legs, each a search of one vector: one leg, or those of its prefetch, whose rankings are fused, or
 *    whose points alone are then searched by the query's own vector.
 * 2. Searches of a call may end on several threads at once. A leg writes its own list only; who ends a query's last leg
 *    has the query, who ends the last query has the call. Until then nobody takes memory of the call.
 * 3. Where points must be read first (examples, groups, points without a query), all of it is done by one worker. */
#ifndef KITH_SERVER_QDRANT_QUERY_H
#define KITH_SERVER_QDRANT_QUERY_H

#include <stdatomic.h>

#include "qdrant/fuse.h"
#include "qdrant/inner.h"

typedef enum ks_qd_kind {
    KS_QD_NEAREST, /* one leg */
    KS_QD_RRF,     /* legs, fused by rank */
    KS_QD_DBSF,    /* by score */
    KS_QD_AGAIN,   /* what the legs found, searched by `last` */
    KS_QD_ALL      /* no query: points in the order of their ids */
} ks_qd_kind;

/* A point that was found: its id as JSON, and an object with its members but for the score, as texts of the list. */
typedef struct ks_qd_entry {
    uint64_t number;
    double score; /* as Qdrant gives it */
    size_t id_at, id_bytes, at, bytes;
} ks_qd_entry;

typedef struct ks_qd_list {
    ks_text text;
    ks_qd_entry *entries;
    size_t count, room;
} ks_qd_list;

/* A point that stands for a vector, or a vector. */
typedef struct ks_qd_example {
    const json_t *id; /* NULL: floats */
    const float *floats;
    int negative;
} ks_qd_example;

typedef struct ks_qd_query ks_qd_query;

typedef struct ks_qd_leg {
    ks_qd_query *query;
    ks_search search;
    kith_leg leg;
    kith_queries queries;
    kith_vector_spec spec;
    const json_t *filter; /* of the leg; the query's is in it too */
    const char *where;
    const ks_qd_example *examples; /* NULL: queries.data is there already */
    size_t example_count;
    int has_threshold;
    double threshold;
    ks_qd_list list;
    int deeper; /* groups are not full: search again */
    uint64_t waited_ns, searched_ns;
} ks_qd_leg;

typedef struct ks_qd_group {
    const char *by; /* key */
    uint64_t size;  /* points of each */
    ks_text text;   /* the groups, as a JSON array, at the end */
} ks_qd_group;

struct ks_qd_query {
    struct ks_qd_call *all;
    ks_qd_kind kind;
    uint64_t limit, offset;
    ks_qd_with with;
    int has_threshold;
    double threshold;
    double rrf_k;
    const json_t *weights; /* of legs; NULL: 1 */
    ks_qd_leg *legs, last;
    size_t leg_count;
    atomic_size_t pending; /* legs that are not over */
    ks_text among;         /* the filter of `last` */
    ks_qd_ranked *fused;   /* NULL: the list of the (last) leg, as it is */
    size_t fused_count;
    ks_qd_group *group; /* NULL: none */
};

typedef enum ks_qd_form {
    KS_QD_POINTS,      /* {"points": [...]} */
    KS_QD_PLAIN,       /* [...], of the old searches */
    KS_QD_POINTS_LIST, /* of batches */
    KS_QD_PLAIN_LIST,
    KS_QD_GROUPS /* {"groups": [...]} */
} ks_qd_form;

typedef struct ks_qd_call {
    ks_qd_place place;
    ks_qd_form form;
    ks_qd_query *queries;
    size_t count;
    atomic_size_t pending; /* queries that are not over */
    atomic_int failed;     /* the reply says why */
    int by_worker;         /* invariant 3 */
} ks_qd_call;

/* Parse one query of any of the forms. 0, or -1: failed. */
int ks_qd_parse_query(ks_qd_call *all, const json_t *body, ks_qd_query *query);
/* The body of an old search or recommendation. */
int ks_qd_parse_search(ks_qd_call *all, const json_t *body, ks_qd_query *query);
int ks_qd_parse_recommend(ks_qd_call *all, const json_t *body, ks_qd_query *query);
int ks_qd_parse_group(ks_qd_call *all, const json_t *body, ks_qd_query *query);

/* Examples of a leg: positive and negative (NULL: none), points or vectors. 0, or -1: failed. */
int ks_qd_examples_of(ks_qd_leg *leg, const json_t *positive, const json_t *negative);
/* Read what points stand for, and make the leg's vector and filter. On the worker. 0, or -1: failed. */
int ks_qd_examples_read(ks_qd_leg *leg);
/* The leg's filter, with its points left out (NULL: none). 0, or -1: failed. */
int ks_qd_leg_where(ks_qd_leg *leg, const kith_ids *without);

/* Run what was parsed: it ends the call. */
void ks_qd_run(ks_qd_call *all);
/* Let go of what the lists and queries have. */
void ks_qd_queries_free(void *all);

/* Take a search's hits into a list, from the first one that may be in it. 0, or -1: *why. */
int ks_qd_list_take(ks_qd_list *list, const ks_qd_leg *leg, const kith_result *result, const kith_hits *hits,
                    size_t first, size_t end, const char **why);
/* Groups of a leg's hits (groups.c): 1: they are full, or there is no more; 0: look deeper; -1: *why. */
int ks_qd_group_take(ks_qd_leg *leg, const kith_result *result, const kith_hits *hits, const char **why);

double ks_qd_score(kith_metric metric, double distance);

/* Handlers. */
void ks_qd_query_points(ks_call *call);
void ks_qd_query_batch(ks_call *call);
void ks_qd_query_groups(ks_call *call);
void ks_qd_search_points(ks_call *call);
void ks_qd_search_batch(ks_call *call);
void ks_qd_recommend_points(ks_call *call);
void ks_qd_recommend_batch(ks_call *call);

#endif
