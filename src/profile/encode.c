/* SPDX-License-Identifier: Apache-2.0
 *
 * A profile as bytes, little-endian:
 *
 *   0 magic  4 version  8 vector  12 dim  16 metric  20 interests_max  24 interest_count  28 seen_max  32 seen_count
 *   36 log_count  40 half_life_ms  48 time_ms  56 events  64 threshold  72 tenant  76 zero
 *   80 a weight an interest (f64), the means (f32), a key and a time of each seen item (u64),
 *   a key and a time (u64), a weight (f32) and a kind (u32) of each logged event, XXH3 of all before */
#include "base/bytes.h"
#include "base/checked.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <xxhash.h>

enum { MAGIC = 0x4B505246, VERSION = 2, HEAD = 80, HASH = 8 };

/* Counts are in their ranges. */
static size_t size_of(const ki_profile *p) {
    return HEAD + (size_t)p->interest_count * (sizeof(double) + (size_t)p->dim * sizeof(float)) +
           (size_t)p->seen_count * sizeof(ki_profile_seen) + (size_t)p->log_count * sizeof(ki_profile_logged) + HASH;
}

kith_status ki_profile_encode(const ki_profile *p, void **data, size_t *bytes, kith_error *error) {
    const size_t size = size_of(p);
    unsigned char *to = ki_alloc_array(size, 1);
    if (!to) return ki_fail(error, KITH_E_NOMEM, "out of memory for a profile of %zu bytes", size);
    const uint32_t numbers[] = {
        MAGIC,       VERSION,       p->vector,   p->dim, (uint32_t)p->metric, p->interests_max, p->interest_count,
        p->seen_max, p->seen_count, p->log_count};
    const uint64_t wide[] = {p->half_life_ms, p->time_ms, p->events};
    const size_t weights = p->interest_count * sizeof(double),
                 means = (size_t)p->interest_count * p->dim * sizeof(float), seen = p->seen_count * sizeof(*p->seen);
    unsigned char *lists = to + HEAD + weights + means;
    memcpy(to, numbers, sizeof(numbers));
    memcpy(to + 40, wide, sizeof(wide));
    ki_store_f64(to + 64, p->threshold);
    ki_store_u32(to + 72, p->tenant);
    ki_store_u32(to + 76, 0);
    memcpy(to + HEAD, p->weight, weights);
    memcpy(to + HEAD + weights, p->mean, means);
    memcpy(lists, p->seen, seen);
    memcpy(lists + seen, p->log, p->log_count * sizeof(*p->log));
    ki_store_u64(to + size - HASH, XXH3_64bits(to, size - HASH));
    *data = to;
    *bytes = size;
    return KITH_OK;
}

/* ---- Back -------------------------------------------------------------------------------------------------------- */

static kith_status damaged(const char *name, const char *what, kith_error *error) {
    return ki_fail(error, KITH_E_CORRUPT, "the profile \"%s\" is damaged: %s", name, what);
}

static int in_range(uint32_t value, uint32_t most) {
    return value >= 1 && value <= most;
}

static kith_status read_head(const unsigned char *from, const char *name, ki_profile *p, kith_error *error) {
    *p = (ki_profile){.vector = ki_load_u32(from + 8),
                      .dim = ki_load_u32(from + 12),
                      .interests_max = ki_load_u32(from + 20),
                      .interest_count = ki_load_u32(from + 24),
                      .seen_max = ki_load_u32(from + 28),
                      .seen_count = ki_load_u32(from + 32),
                      .log_count = ki_load_u32(from + 36),
                      .half_life_ms = ki_load_u64(from + 40),
                      .time_ms = ki_load_u64(from + 48),
                      .events = ki_load_u64(from + 56),
                      .threshold = ki_load_f64(from + 64),
                      .tenant = ki_load_u32(from + 72)};
    const uint32_t metric = ki_load_u32(from + 16);
    if (metric != KITH_L2SQ && metric != KITH_IP && metric != KITH_COSINE) return damaged(name, "its metric", error);
    p->metric = (kith_metric)metric;
    if (!in_range(p->dim, KITH_DIM_MAX)) return damaged(name, "its dimension", error);
    if (!in_range(p->interests_max, KITH_INTERESTS_MAX) || p->interest_count > p->interests_max)
        return damaged(name, "its number of interests", error);
    if (!in_range(p->seen_max, KITH_SEEN_MAX) || p->seen_count > p->seen_max)
        return damaged(name, "its number of seen items", error);
    if (ki_load_u32(from + 76) != 0) return damaged(name, "its zeros", error);
    if (p->log_count > p->seen_max) return damaged(name, "its number of events", error);
    if (p->half_life_ms == 0 || !(p->threshold >= 0 && p->threshold <= 1)) return damaged(name, "its settings", error);
    return KITH_OK;
}

/* P1, as far as a search needs it. */
static int interests_fit(const ki_profile *p) {
    for (uint32_t i = 0; i < p->interest_count; i++) {
        const double norm2 = ki_distance()->norm2[KITH_F32](p->mean + (size_t)i * p->dim, p->dim);
        if (!isfinite(p->weight[i]) || !(p->weight[i] > 0) || !(sqrt(norm2) <= KITH_NORM_MAX)) return 0;
        if (p->metric != KITH_L2SQ && !(sqrt(norm2) >= KITH_COSINE_NORM_MIN)) return 0;
    }
    return 1;
}

static int log_fits(const ki_profile *p) {
    for (uint32_t i = 0; i < p->log_count; i++) {
        const ki_profile_logged *event = &p->log[i];
        if (!isfinite(event->weight) || !(event->weight > 0)) return 0;
        if (event->kind != KITH_EVENT_LIKE && event->kind != KITH_EVENT_DISLIKE && event->kind != KITH_EVENT_VIEW)
            return 0;
    }
    return 1;
}

kith_status ki_profile_decode(const void *data, size_t bytes, const char *name, ki_profile *profile,
                              kith_error *error) {
    const unsigned char *from = data;
    ki_profile p;
    if (bytes < HEAD + HASH || ki_load_u32(from) != MAGIC) return damaged(name, "it is none", error);
    if (ki_load_u64(from + bytes - HASH) != XXH3_64bits(from, bytes - HASH))
        return damaged(name, "its checksum is another one", error);
    if (ki_load_u32(from + 4) != VERSION)
        return ki_fail(error, KITH_E_VERSION, "the profile \"%s\" is of version %u, this kith knows version %d", name,
                       ki_load_u32(from + 4), VERSION);
    kith_status status = read_head(from, name, &p, error);
    if (status == KITH_OK && bytes != size_of(&p)) status = damaged(name, "its size", error);
    if (status != KITH_OK) return status;
    const uint32_t interests = p.interest_count, seen = p.seen_count, logged = p.log_count;
    p.interest_count = p.seen_count = p.log_count = 0;
    status =
        ki_profile_set(&p, &(ki_profile_settings){p.interests_max, p.seen_max, p.half_life_ms, p.threshold}, error);
    if (status != KITH_OK) return status;
    const size_t weights = interests * sizeof(double), means = (size_t)interests * p.dim * sizeof(float);
    memcpy(p.weight, from + HEAD, weights);
    memcpy(p.mean, from + HEAD + weights, means);
    const unsigned char *lists = from + HEAD + weights + means;
    memcpy(p.seen, lists, seen * sizeof(*p.seen));
    memcpy(p.log, lists + seen * sizeof(*p.seen), logged * sizeof(*p.log));
    p.interest_count = interests;
    p.seen_count = seen;
    p.log_count = logged;
    if (!interests_fit(&p) || !log_fits(&p)) {
        const char *what = log_fits(&p) ? "an interest" : "an event";
        ki_profile_free(&p);
        return damaged(name, what, error);
    }
    *profile = p;
    return KITH_OK;
}
