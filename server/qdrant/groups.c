/* SPDX-License-Identifier: Apache-2.0
 *
 * Groups: the best points of each of the first few values of a key, best groups first. A search looks four times as
 * deep as before until they are full, or nothing is left, or it is as deep as one may be. */
#include "qdrant/query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One group: its value, and its points in the order in which they were found. */
typedef struct group {
    json_t *value;
    size_t *hits;
    size_t count;
} group;

typedef struct grouping {
    const ks_qd_query *query;
    group *groups;
    size_t count; /* of them */
    size_t full;
} grouping;

static void forget(grouping *g) {
    for (size_t i = 0; i < g->count; i++) {
        json_decref(g->groups[i].value);
        free(g->groups[i].hits);
    }
    free(g->groups);
}

/* The group of a value, made if there is room for another one; NULL: there is none. -1 in *status: no memory. */
static group *group_of(grouping *g, json_t *value, int *status) {
    for (size_t i = 0; i < g->count; i++) {
        if (json_equal(g->groups[i].value, value)) return &g->groups[i];
    }
    if (g->count == g->query->limit) return NULL;
    size_t *hits = malloc((size_t)g->query->group->size * sizeof *hits);
    if (!hits) {
        *status = -1;
        return NULL;
    }
    g->groups[g->count] = (group){.value = json_incref(value), .hits = hits};
    return &g->groups[g->count++];
}

/* Put a hit into the group of a value: texts and whole numbers are such. */
static int put(grouping *g, json_t *value, size_t hit) {
    int status = 0;
    if (!json_is_string(value) && !json_is_integer(value)) return 0;
    group *to = group_of(g, value, &status);
    if (!to || to->count == g->query->group->size || (to->count > 0 && to->hits[to->count - 1] == hit)) return status;
    to->hits[to->count++] = hit;
    if (to->count == g->query->group->size) g->full++;
    return 0;
}

static int put_hit(grouping *g, const kith_hits *hits, size_t hit) {
    int status;
    json_t *payload = ks_qd_payload(hits, hit, &status), *value = ks_qd_at_key(payload, g->query->group->by);
    if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value) && status == 0; i++)
            status = put(g, json_array_get(value, i), hit);
    } else if (value) {
        status = put(g, value, hit);
    }
    json_decref(payload);
    return status;
}

/* Points of a group as Qdrant writes them. */
static int put_points(ks_json *json, const ks_qd_leg *leg, const group *from, const kith_result *result,
                      const kith_hits *hits, const char **why) {
    ks_json_array(json, "hits");
    for (size_t i = 0; i < from->count; i++) {
        const size_t hit = from->hits[i];
        ks_json_object(json, NULL);
        if (ks_qd_point(json, &leg->query->all->place, &leg->query->with, result, hits, hit, why) < 0) return -1;
        ks_json_real(json, "score", ks_qd_score(leg->spec.metric, hits->distances[hit]));
        ks_json_object_end(json);
    }
    ks_json_array_end(json);
    return 0;
}

static int write_groups(const grouping *g, const ks_qd_leg *leg, const kith_result *result, const kith_hits *hits,
                        const char **why) {
    ks_text *text = &g->query->group->text;
    ks_json json = KS_JSON(text);
    ks_text_clear(text);
    ks_json_array(&json, NULL);
    for (size_t i = 0; i < g->count; i++) {
        ks_json_object(&json, NULL);
        if (put_points(&json, leg, &g->groups[i], result, hits, why) < 0) return -1;
        ks_json_value(&json, "id", g->groups[i].value);
        ks_json_object_end(&json);
    }
    ks_json_array_end(&json);
    return text->failed ? -1 : 1;
}

int ks_qd_group_take(ks_qd_leg *leg, const kith_result *result, const kith_hits *hits, const char **why) {
    const ks_qd_query *query = leg->query;
    grouping g = {.query = query, .groups = calloc((size_t)query->limit, sizeof *g.groups)};
    int status = g.groups ? 0 : -1;
    size_t looked = 0;
    *why = "there is no memory for groups, or a payload cannot be read";
    for (; looked < hits->count && status == 0 && g.full < query->limit; looked++) {
        const double score = ks_qd_score(leg->spec.metric, hits->distances[looked]);
        if (leg->has_threshold && (leg->spec.metric == KITH_L2SQ ? score > leg->threshold : score < leg->threshold))
            break;
        status = put_hit(&g, hits, looked);
    }
    const size_t k = leg->search.ask.k;
    const int deeper =
        status == 0 && looked == hits->count && hits->count == k && k < KITH_K_MAX && g.full < query->limit;
    if (deeper) leg->search.ask.k = k > KITH_K_MAX / 4 ? KITH_K_MAX : k * 4;
    if (status == 0 && !deeper) status = write_groups(&g, leg, result, hits, why);
    forget(&g);
    return status;
}
