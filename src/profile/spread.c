/* SPDX-License-Identifier: Apache-2.0 */
#include "base/checked.h"
#include "kernel/distance.h"
#include "profile/profile.h"

#include <math.h>

/* What a choice needs beside the candidates, an element each. */
struct choice {
    const ki_spread *spread;
    double *relevance, *norm, *likeness; /* likeness: the greatest to one that is chosen; -1: it is chosen itself */
    double scale;                        /* l2 */
};

static const float *row(const ki_spread *spread, size_t number) {
    return spread->vectors + number * spread->dim;
}

static double similar(const struct choice *c, size_t a, size_t b) {
    const ki_spread *spread = c->spread;
    if (!spread->present[a] || !spread->present[b]) return 0;
    if (spread->metric == KITH_L2SQ) {
        const double d2 = (double)ki_distance()->l2sq[KITH_F32](row(spread, a), row(spread, b), spread->dim);
        return d2 > 0 ? c->scale / (c->scale + d2) : 1;
    }
    const double below = c->norm[a] * c->norm[b];
    const double dot = (double)ki_distance()->dot[KITH_F32](row(spread, a), row(spread, b), spread->dim);
    return below > 0 && dot > 0 ? dot / below : 0;
}

static void prepare(struct choice *c) {
    const ki_spread *spread = c->spread;
    const double first = (double)spread->distances[0], last = (double)spread->distances[spread->count - 1];
    double sum = 0;
    for (size_t i = 0; i < spread->count; i++) {
        c->relevance[i] = last > first ? (last - (double)spread->distances[i]) / (last - first) : 1;
        c->norm[i] = spread->present[i] ? sqrt(ki_distance()->norm2[KITH_F32](row(spread, i), spread->dim)) : 0;
        c->likeness[i] = 0;
        if (spread->metric == KITH_L2SQ && spread->present[0] && spread->present[i])
            sum += (double)ki_distance()->l2sq[KITH_F32](row(spread, 0), row(spread, i), spread->dim);
    }
    c->scale = sum / (double)spread->count;
}

/* The best that is not chosen yet; one is left. */
static size_t best_of(const struct choice *c) {
    const double diversity = c->spread->diversity;
    size_t best = SIZE_MAX;
    double most = 0;
    for (size_t i = 0; i < c->spread->count; i++) {
        if (c->likeness[i] < 0) continue;
        const double value = (1 - diversity) * c->relevance[i] - diversity * c->likeness[i];
        if (best == SIZE_MAX || value > most) best = i, most = value;
    }
    return best;
}

size_t ki_spread_choose(const ki_spread *spread, size_t k, size_t *chosen, double *memory) {
    const size_t wanted = ki_min_size(k, spread->count);
    struct choice c = {
        .spread = spread, .relevance = memory, .norm = memory + spread->count, .likeness = memory + 2 * spread->count};
    if (!wanted) return 0;
    prepare(&c);
    for (size_t found = 0; found < wanted; found++) {
        const size_t best = best_of(&c);
        chosen[found] = best;
        c.likeness[best] = -1;
        for (size_t i = 0; i < spread->count; i++) {
            if (c.likeness[i] < 0) continue;
            const double s = similar(&c, best, i);
            if (s > c.likeness[i]) c.likeness[i] = s;
        }
    }
    return wanted;
}
