/* SPDX-License-Identifier: Apache-2.0 */
#include "collection/recommend.h"

#include "base/checked.h"
#include "base/status.h"

#include <stdlib.h>
#include <string.h>

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static int take_seen(ki_recommend *r) {
    r->seen = ki_alloc_array(r->profile.seen_count, sizeof(*r->seen));
    if (!r->seen) return 0;
    for (uint32_t i = 0; i < r->profile.seen_count; i++) r->seen[i] = r->profile.seen[i].key;
    r->seen_count = r->profile.seen_count;
    qsort(r->seen, r->seen_count, sizeof(*r->seen), ascending);
    return 1;
}

kith_status ki_recommend_begin(ki_recommend *r, kith_collection *collection, const ki_snapshot *snapshot,
                               const ki_generation *generation, const kith_ask *ask, kith_error *error) {
    *r = (ki_recommend){0};
    kith_status status = ki_profile_read(collection, ask->profile, &r->profile, &r->serial, error);
    if (status == KITH_OK) status = ki_profile_suit(snapshot, generation, ask->profile, &r->profile, error);
    if (status != KITH_OK) return status;
    r->legs = r->profile.interest_count ? r->profile.interest_count : 1;
    r->queries = ki_alloc_array((uint64_t)r->legs * r->profile.dim, sizeof(float));
    r->weight = ki_alloc_array(r->legs, sizeof(double));
    if (r->queries && r->weight && (!ask->leave_out_seen || take_seen(r))) return KITH_OK;
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a profile");
}

kith_status ki_recommend_aim(ki_recommend *r, const float *context, double blend, const char *name, kith_error *error) {
    const ki_profile *profile = &r->profile;
    double sum = 0;
    if (!profile->interest_count && !context)
        return ki_fail(error, KITH_E_NOTFOUND, "the profile \"%s\" has no interests yet: nothing was liked", name);
    if (!profile->interest_count) memcpy(r->queries, context, profile->dim * sizeof(float));
    r->weight[0] = 1;
    for (uint32_t i = 0; i < profile->interest_count; i++) sum += profile->weight[i];
    for (uint32_t i = 0; i < profile->interest_count; i++) {
        float *query = r->queries + (size_t)i * profile->dim;
        ki_profile_query(profile, i, query);
        if (context) (void)ki_profile_blend(profile, context, blend, query);
        r->weight[i] = profile->weight[i] / sum;
    }
    return KITH_OK;
}

void ki_recommend_end(ki_recommend *r) {
    ki_profile_free(&r->profile);
    free(r->queries);
    free(r->weight);
    free(r->seen);
    *r = (ki_recommend){0};
}

/* ---- Results ----------------------------------------------------------------------------------------------------- */

size_t ki_recommend_leave_out(const ki_recommend *r, ki_leg_hit *hits, size_t count) {
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!bsearch(&hits[i].key, r->seen, r->seen_count, sizeof(*r->seen), ascending)) hits[kept++] = hits[i];
    return kept;
}

/* The candidates' vectors; those that lack one are not present. */
static kith_status read_vectors(const ki_leg_search *leg, const ki_leg_hit *hits, size_t count, size_t dim, float *rows,
                                uint8_t *present, kith_error *error) {
    kith_error own = {0};
    for (size_t i = 0; i < count; i++) {
        ki_place place;
        kith_status status = ki_leg_place(leg->snapshot, &hits[i], 1, &place, error);
        if (status != KITH_OK) return status;
        status = ki_snapshot_vector(leg->snapshot, &place, leg->spec, rows + i * dim, &own);
        present[i] = status == KITH_OK;
        if (status != KITH_OK && status != KITH_E_NOTFOUND) return ki_fail(error, status, "%s", own.text);
    }
    return KITH_OK;
}

kith_status ki_recommend_spread(const ki_leg_search *leg, double diversity, const ki_leg_hit *hits, size_t count,
                                ki_search_work *work, const ki_leg_hit **chosen, size_t *found, kith_error *error) {
    const ki_vector *vector = &leg->snapshot->generations->vector[leg->spec];
    const size_t each = 3 * sizeof(double) + sizeof(size_t) + sizeof(ki_leg_hit) + sizeof(float) + 1;
    double *memory = ki_area_take(&work->spread, count, each);
    float *rows = ki_area_take(&work->spread_rows, (uint64_t)count * vector->dim, sizeof(*rows));
    if (!memory || !rows) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu candidates", count);
    size_t *numbers = (size_t *)(memory + 3 * count);
    ki_leg_hit *out = (ki_leg_hit *)(void *)(numbers + count);
    float *distances = (float *)(void *)(out + count);
    uint8_t *present = (uint8_t *)(distances + count);
    const kith_status status = read_vectors(leg, hits, count, vector->dim, rows, present, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < count; i++) distances[i] = hits[i].distance;
    const ki_spread spread = {.vectors = rows,
                              .present = present,
                              .distances = distances,
                              .count = count,
                              .dim = vector->dim,
                              .metric = vector->metric,
                              .diversity = diversity};
    *found = ki_spread_choose(&spread, leg->k, numbers, memory);
    for (size_t i = 0; i < *found; i++) out[i] = hits[numbers[i]];
    *chosen = out;
    return KITH_OK;
}
