/* SPDX-License-Identifier: Apache-2.0 */
#include "profile/profile.h"

#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"

#include <math.h>
#include <string.h>

/* A weight that small has halved forty times since it was worth a like. */
static const double LEAST = 0x1p-40;

static float *row(const ki_profile *profile, uint32_t interest) {
    return profile->mean + (size_t)interest * profile->dim;
}

static double norm_of(const float *vector, size_t dim) {
    return sqrt(ki_distance()->norm2[KITH_F32](vector, dim));
}

static int has_direction(const ki_profile *profile) {
    return profile->metric != KITH_L2SQ;
}

/* to = factor * from, rounded once an element. */
static void scale(const float *from, double factor, size_t dim, float *to) {
    for (size_t d = 0; d < dim; d++) to[d] = (float)(factor * (double)from[d]);
}

/* a += share * (b - a) */
static void move(float *a, double share, const float *b, size_t dim) {
    for (size_t d = 0; d < dim; d++) a[d] = (float)((double)a[d] + share * ((double)b[d] - (double)a[d]));
}

static double similar(const ki_profile *profile, const float *a, const float *b) {
    const double dot = (double)ki_distance()->dot[KITH_F32](a, b, profile->dim);
    const double x = norm_of(a, profile->dim), y = norm_of(b, profile->dim);
    const double below = has_direction(profile) ? x * y : (x * x + y * y) / 2;
    return below > 0 ? dot / below : 1; /* two zeros are the same */
}

/* ---- Interests --------------------------------------------------------------------------------------------------- */

static void drop(ki_profile *profile, uint32_t interest) {
    const uint32_t behind = profile->interest_count - interest - 1;
    memmove(row(profile, interest), row(profile, interest + 1), (size_t)behind * profile->dim * sizeof(float));
    memmove(&profile->weight[interest], &profile->weight[interest + 1], behind * sizeof(double));
    profile->interest_count--;
}

/* What P1 does not allow goes. */
static int is_fit(const ki_profile *profile, uint32_t interest) {
    const double norm = norm_of(row(profile, interest), profile->dim);
    return profile->weight[interest] >= LEAST && isfinite(profile->weight[interest]) && norm <= KITH_NORM_MAX &&
           (!has_direction(profile) || norm >= KITH_COSINE_NORM_MIN);
}

/* a < b: b becomes part of a. */
static void merge(ki_profile *profile, uint32_t a, uint32_t b) {
    const double weight = profile->weight[a] + profile->weight[b];
    move(row(profile, a), profile->weight[b] / weight, row(profile, b), profile->dim);
    profile->weight[a] = weight;
    drop(profile, b);
    if (!is_fit(profile, a)) drop(profile, a); /* opposite ones */
}

static void merge_nearest(ki_profile *profile) {
    uint32_t a = 0, b = 1;
    double best = -INFINITY;
    for (uint32_t i = 0; i < profile->interest_count; i++)
        for (uint32_t j = i + 1; j < profile->interest_count; j++) {
            const double s = similar(profile, row(profile, i), row(profile, j));
            if (s > best) a = i, b = j, best = s;
        }
    merge(profile, a, b);
}

/* The interest among the first `count` that is most similar to a vector; count > 0. */
static uint32_t nearest(const ki_profile *profile, uint32_t count, const float *vector, double *best) {
    uint32_t at = 0;
    *best = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
        const double s = similar(profile, row(profile, i), vector);
        if (s > *best) at = i, *best = s;
    }
    return at;
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

/* Weights as of the time of an event; what its own counts for: less than 1 if it comes late. */
static double advance(ki_profile *profile, uint64_t time_ms) {
    const double half_life = (double)profile->half_life_ms;
    const int forever = profile->half_life_ms == UINT64_MAX;
    if (time_ms <= profile->time_ms) return forever ? 1 : exp2(-(double)(profile->time_ms - time_ms) / half_life);
    const double factor = forever ? 1 : exp2(-(double)(time_ms - profile->time_ms) / half_life);
    profile->time_ms = time_ms;
    for (uint32_t i = profile->interest_count; i-- > 0;) {
        profile->weight[i] *= factor;
        if (profile->weight[i] < LEAST) drop(profile, i);
    }
    return 1;
}

/* Put an item's vector behind the interests, as if it were one; 0: it has no direction, or no weight. */
static int put_item(ki_profile *profile, const float *vector, double weight) {
    const uint32_t at = profile->interest_count;
    const double norm = norm_of(vector, profile->dim);
    if (has_direction(profile) && !(norm >= KITH_COSINE_NORM_MIN)) return 0;
    scale(vector, has_direction(profile) ? 1 / norm : 1, profile->dim, row(profile, at));
    profile->weight[at] = weight;
    return is_fit(profile, at);
}

static void like(ki_profile *profile, const float *vector, double weight) {
    const uint32_t before = profile->interest_count;
    double best;
    if (!put_item(profile, vector, weight)) return;
    profile->interest_count++;
    if (before == 0) return;
    const uint32_t at = nearest(profile, before, row(profile, before), &best);
    if (best >= profile->threshold)
        merge(profile, at, before);
    else if (before == profile->interests_max)
        merge_nearest(profile);
}

static void dislike(ki_profile *profile, const float *vector, double weight) {
    const uint32_t item = profile->interest_count;
    double best;
    if (item == 0 || !put_item(profile, vector, weight)) return;
    const uint32_t at = nearest(profile, item, row(profile, item), &best);
    if (!(best > 0)) return;
    const double share = weight * best / (profile->weight[at] + weight);
    profile->weight[at] -= weight * best;
    if (profile->weight[at] >= LEAST) {
        move(row(profile, at), -share, row(profile, item), profile->dim);
        const double norm = norm_of(row(profile, at), profile->dim);
        if (has_direction(profile) && norm > 1) scale(row(profile, at), 1 / norm, profile->dim, row(profile, at));
    }
    if (!is_fit(profile, at)) drop(profile, at);
}

/* The latest last; the one that came first goes when there are too many. */
static void mark_seen(ki_profile *profile, uint64_t key, uint64_t time_ms) {
    uint32_t at = 0;
    while (at < profile->seen_count && profile->seen[at].key != key) at++;
    if (at == profile->seen_count) {
        if (profile->seen_count < profile->seen_max)
            profile->seen_count++;
        else
            at = 0;
    }
    const uint32_t last = profile->seen_count - 1;
    memmove(&profile->seen[at], &profile->seen[at + 1], (last - at) * sizeof(*profile->seen));
    profile->seen[last] = (ki_profile_seen){key, time_ms};
}

static void put_log(ki_profile *profile, const ki_profile_logged *event) {
    if (profile->log_count == profile->seen_max) {
        profile->log_count--;
        memmove(profile->log, profile->log + 1, profile->log_count * sizeof(*profile->log));
    }
    profile->log[profile->log_count++] = *event;
}

void ki_profile_replay(ki_profile *profile, const ki_profile_logged *event, const float *vector) {
    const double weight = (double)event->weight * advance(profile, event->time_ms);
    if (event->kind == KITH_EVENT_DISLIKE)
        dislike(profile, vector, weight);
    else
        like(profile, vector, weight);
}

void ki_profile_age(ki_profile *profile, uint64_t time_ms) {
    (void)advance(profile, time_ms);
}

void ki_profile_apply(ki_profile *profile, const ki_profile_event *event) {
    const ki_profile_logged logged = {event->key, event->time_ms, (float)event->weight, (uint32_t)event->kind};
    if (event->kind == KITH_EVENT_SEEN || !(logged.weight > 0)) {
        ki_profile_age(profile, event->time_ms);
    } else {
        ki_profile_replay(profile, &logged, event->vector);
        put_log(profile, &logged);
    }
    mark_seen(profile, event->key, event->time_ms);
    profile->events++;
}

/* ---- Making ------------------------------------------------------------------------------------------------------ */

void ki_profile_free(ki_profile *profile) {
    free(profile->mean);
    free(profile->seen);
    free(profile->log);
    profile->mean = NULL;
    profile->seen = NULL;
    profile->log = NULL;
}

static uint32_t least(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}

/* Arrays of other sizes with what fits of the old ones. */
static void take_over(ki_profile *profile, float *mean, ki_profile_seen *seen, ki_profile_logged *log,
                      uint32_t seen_max) {
    const uint32_t kept = least(profile->seen_count, seen_max), logged = least(profile->log_count, seen_max);
    if (profile->interest_count)
        memcpy(mean, profile->mean, (size_t)profile->interest_count * profile->dim * sizeof(float));
    if (kept) memcpy(seen, profile->seen + (profile->seen_count - kept), kept * sizeof(*seen));
    if (logged) memcpy(log, profile->log + (profile->log_count - logged), logged * sizeof(*log));
    ki_profile_free(profile);
    profile->mean = mean;
    profile->seen = seen;
    profile->log = log;
    profile->seen_count = kept;
    profile->log_count = logged;
}

kith_status ki_profile_set(ki_profile *profile, const ki_profile_settings *settings, kith_error *error) {
    const int same =
        profile->mean && settings->interests_max == profile->interests_max && settings->seen_max == profile->seen_max;
    if (!same) {
        float *mean = ki_alloc_array((uint64_t)(settings->interests_max + 1) * profile->dim, sizeof(*mean));
        ki_profile_seen *seen = ki_alloc_array(settings->seen_max, sizeof(*seen));
        ki_profile_logged *log = ki_alloc_array(settings->seen_max, sizeof(*log));
        if (!mean || !seen || !log) {
            free(mean);
            free(seen);
            free(log);
            return ki_fail(error, KITH_E_NOMEM, "out of memory for a profile of %u elements", profile->dim);
        }
        while (profile->interest_count > settings->interests_max) merge_nearest(profile);
        take_over(profile, mean, seen, log, settings->seen_max);
    }
    profile->interests_max = settings->interests_max;
    profile->seen_max = settings->seen_max;
    profile->half_life_ms = settings->half_life_ms;
    profile->threshold = settings->threshold;
    return KITH_OK;
}

/* ---- Queries ----------------------------------------------------------------------------------------------------- */

void ki_profile_query(const ki_profile *profile, uint32_t interest, float *query) {
    const float *mean = row(profile, interest);
    scale(mean, has_direction(profile) ? 1 / norm_of(mean, profile->dim) : 1, profile->dim, query);
}

int ki_profile_blend(const ki_profile *profile, const float *context, double blend, float *query) {
    const size_t dim = profile->dim;
    double sum = 0, length = 1, unit = 1;
    if (has_direction(profile)) {
        length = norm_of(context, dim);
        if (!(length >= KITH_COSINE_NORM_MIN)) return 0;
        for (size_t d = 0; d < dim; d++) {
            const double x = (1 - blend) * (double)query[d] + blend * ((double)context[d] / length);
            sum += x * x;
        }
        unit = sqrt(sum);
        if (!(unit >= KITH_COSINE_NORM_MIN)) return 0;
    }
    for (size_t d = 0; d < dim; d++)
        query[d] = (float)(((1 - blend) * (double)query[d] + blend * ((double)context[d] / length)) / unit);
    return 1;
}
