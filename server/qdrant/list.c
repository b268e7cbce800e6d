/* SPDX-License-Identifier: Apache-2.0
 *
 * What a search found, as Qdrant writes it, but for the score, which may change yet. */
#include "qdrant/query.h"

#include <math.h>
#include <stdlib.h>

double ks_qd_score(kith_metric metric, double distance) {
    if (metric == KITH_COSINE) return 1 - distance;
    return metric == KITH_L2SQ ? sqrt(distance) : -distance;
}

/* Whether a score is good enough. Of distances the smaller ones are. */
static int is_enough(const ks_qd_leg *leg, double score) {
    if (!leg->has_threshold) return 1;
    return leg->spec.metric == KITH_L2SQ ? score <= leg->threshold : score >= leg->threshold;
}

static int make_room(ks_qd_list *list, size_t count) {
    if (count <= list->room - list->count) return 0;
    ks_qd_entry *entries = realloc(list->entries, (list->count + count) * sizeof *entries);
    if (!entries) return -1;
    list->entries = entries;
    list->room = list->count + count;
    return 0;
}

int ks_qd_list_take(ks_qd_list *list, const ks_qd_leg *leg, const kith_result *result, const kith_hits *hits,
                    size_t first, size_t end, const char **why) {
    *why = "there is no memory for what was found";
    if (make_room(list, end - first) < 0) return -1;
    for (size_t i = first; i < end; i++) {
        const double score = hits->distances ? ks_qd_score(leg->spec.metric, hits->distances[i]) : 0;
        if (hits->distances && !is_enough(leg, score)) continue;
        ks_qd_entry entry = {.number = hits->ids[i], .score = score, .id_at = list->text.used};
        ks_json id = KS_JSON(&list->text), point = KS_JSON(&list->text);
        ks_qd_hit_id(&id, NULL, hits, i);
        entry.id_bytes = list->text.used - entry.id_at;
        entry.at = list->text.used;
        ks_json_object(&point, NULL);
        if (ks_qd_point(&point, &leg->query->all->place, &leg->query->with, result, hits, i, why) < 0) return -1;
        ks_json_object_end(&point);
        entry.bytes = list->text.used - entry.at;
        list->entries[list->count++] = entry;
    }
    *why = "there is no memory for what was found";
    return list->text.failed ? -1 : 0;
}
