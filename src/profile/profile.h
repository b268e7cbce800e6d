/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles: what somebody likes, as a few vectors that events move. Pure functions over memory; nothing here knows of
 * collections.
 *
 *   profile   making one, and what an event does to it
 *   again     making it anew of the events that it remembers, when items have other vectors
 *   encode    as bytes, and back
 *   spread    candidates of a search chosen so that they differ from each other
 *
 * A profile has up to `interests_max` *interests*, each a mean of items with a weight, a list of *seen* keys, and a
 * *log* of the last events that moved it: as many as seen keys, without vectors.
 *
 *   like, view    The item begins an interest of its own. If the nearest of the others is at least `threshold` similar
 *                 to it, they become one: the weighted mean. Otherwise, when there are too many now, the two that are
 *                 most alike do: sequential leader clustering [Hartigan 1975], with merging in place of a radius that
 *                 grows.
 *   dislike       The nearest interest, s > 0 similar, loses w * s of its weight, and moves away by w * s / (W + w) of
 *                 the difference: at most half of it, so that no dislike throws an interest elsewhere. What is disliked
 *                 after it was liked alone is forgotten. Rocchio's feedback [1971], bounded.
 *   any of them   marks the item as seen.
 *
 * Similarity is the cosine; under l2, 2ab / (aa + bb), which is less where lengths differ. Items of cosine and ip are
 * taken as unit vectors. All weights halve in each half-life: an event that comes late counts as much as if it had come
 * in time.
 *
 * P1. Means are finite, no longer than KITH_NORM_MAX, and no shorter than KITH_COSINE_NORM_MIN but under l2; weights
 *     are finite and above LEAST (profile.c). What would not be is dropped.
 * P2. The same events in the same order give the same bits.
 * P3. After ki_profile_set nothing allocates: an event cannot fail.
 * P4. Where the log has all events that moved it, and its settings never changed, making it anew of the same vectors
 *     gives the same interests, up to rounding: what was merely seen moves the time, and is not in the log.
 *
 * One owner at a time. */
#ifndef KI_PROFILE_PROFILE_H
#define KI_PROFILE_PROFILE_H

#include "kith.h"

typedef struct ki_profile_seen {
    uint64_t key, time_ms;
} ki_profile_seen;

/* An event that moved it. Weights are rounded to float before they count, so that it counts the same again. */
typedef struct ki_profile_logged {
    uint64_t key, time_ms;
    float weight;  /* finite, > 0 */
    uint32_t kind; /* kith_event_kind, but KITH_EVENT_SEEN */
} ki_profile_logged;

typedef struct ki_profile {
    uint32_t vector; /* number of the named vector: the collection's affair */
    uint32_t tenant; /* the generation that the vectors of its items were made for: likewise */
    uint32_t dim;
    kith_metric metric;                     /* L2SQ, IP or COSINE */
    uint32_t interests_max, interest_count; /* 1..KITH_INTERESTS_MAX */
    uint32_t seen_max, seen_count;          /* 1..KITH_SEEN_MAX */
    uint32_t log_count;                     /* at most seen_max */
    uint64_t half_life_ms;                  /* UINT64_MAX: weights stay */
    uint64_t time_ms;                       /* of the last event; weights are as of then */
    uint64_t events;
    double threshold; /* 0..1 */
    double weight[KITH_INTERESTS_MAX + 1];
    float *mean;            /* interests_max + 1 rows of dim */
    ki_profile_seen *seen;  /* in the order of their coming, the latest last: room for seen_max */
    ki_profile_logged *log; /* likewise */
} ki_profile;

/* ---- profile.c --------------------------------------------------------------------------------------------------- */

/* What may change later. */
typedef struct ki_profile_settings {
    uint32_t interests_max, seen_max;
    uint64_t half_life_ms;
    double threshold;
} ki_profile_settings;

/* Begin with *profile zero but for vector, dim and metric, or change the settings of one that is there: interests that
 * are too many are merged, seen keys and events that are too many go. Settings are in their ranges. KITH_E_NOMEM: it is
 * as it was. */
kith_status ki_profile_set(ki_profile *profile, const ki_profile_settings *settings, kith_error *error);
void ki_profile_free(ki_profile *profile); /* {0} is fine */

typedef struct ki_profile_event {
    kith_event_kind kind;
    double weight;       /* finite, > 0 */
    uint64_t key;        /* of the item */
    uint64_t time_ms;    /* later than the last event's or not */
    const float *vector; /* the item's, finite and no longer than KITH_NORM_MAX; NULL with KITH_EVENT_SEEN */
} ki_profile_event;
void ki_profile_apply(ki_profile *profile, const ki_profile_event *event);

/* Of a profile that was just made and has no events: let one that was logged move it. */
void ki_profile_replay(ki_profile *profile, const ki_profile_logged *event, const float *vector);
/* Weights as of a later time. */
void ki_profile_age(ki_profile *profile, uint64_t time_ms);

/* Interest number i as a query: of unit length, under l2 the mean. */
void ki_profile_query(const ki_profile *profile, uint32_t interest, float *query);
/* The same moved towards a context by `blend`, 0..1: (1 - blend) * query + blend * context, the context taken to unit
 * length first but under l2, and so is what comes out. 0: they cancel out, or the context has no direction, and `query`
 * is left as it is. */
int ki_profile_blend(const ki_profile *profile, const float *context, double blend, float *query);

/* ---- again.c ----------------------------------------------------------------------------------------------------- */

/* The vector of an item now: KITH_OK; KITH_E_NOTFOUND, with or without a text: the event is left out. */
typedef kith_status (*ki_profile_vector_fn)(void *context, uint64_t key, float *vector, kith_error *error);
/* What the vectors are. */
typedef struct ki_profile_space {
    uint32_t vector, tenant, dim;
    kith_metric metric;
} ki_profile_space;
/* Make the interests anew of the logged events, in another space or in the same one; all else stays. *skipped: events
 * that were left out. KITH_E_NOMEM and what fn fails with: the profile is as it was. */
kith_status ki_profile_again(ki_profile *profile, const ki_profile_space *space, ki_profile_vector_fn fn, void *context,
                             uint64_t *skipped, kith_error *error);

/* ---- encode.c ---------------------------------------------------------------------------------------------------- */

/* *data is the caller's to free. KITH_E_NOMEM. */
kith_status ki_profile_encode(const ki_profile *profile, void **data, size_t *bytes, kith_error *error);
/* From bytes that nobody vouches for. `name` is for messages. On failure there is nothing to free. KITH_E_CORRUPT,
 * KITH_E_VERSION (of a newer kith), KITH_E_NOMEM. */
kith_status ki_profile_decode(const void *data, size_t bytes, const char *name, ki_profile *profile, kith_error *error);

/* ---- spread.c ---------------------------------------------------------------------------------------------------- */

/* Candidates in the order of a search. */
typedef struct ki_spread {
    const float *vectors;   /* a row each */
    const uint8_t *present; /* 0: it lacks one, and is like nothing else */
    const float *distances; /* ascending */
    size_t count, dim;
    kith_metric metric;
    double diversity; /* 0..1 */
} ki_spread;

/* Choose k of them by maximal marginal relevance [Carbonell, Goldstein 1998]: again and again the one with the greatest
 *
 *     (1 - diversity) * relevance - diversity * (greatest similarity to one that is chosen)
 *
 * where relevance falls from 1 at the first candidate to 0 at the last one as the distance rises between, and
 * similarity is the cosine, at least 0; under l2 s / (s + d2), s the mean squared distance of the candidates from the
 * first one. Ties go to the earlier one. chosen: their numbers, min(k, count) of them, which is returned. memory: 3 *
 * count doubles. */
size_t ki_spread_choose(const ki_spread *spread, size_t k, size_t *chosen, double *memory);

#endif
