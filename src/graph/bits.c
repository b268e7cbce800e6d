/* SPDX-License-Identifier: Apache-2.0
 *
 * How many bits a dimension of an edge's code shall have, from a sample of the vectors.
 *
 * After a random rotation the estimate of an edge from x to y, for a query q, errs by about
 *     2 e |q - x| |y - x| / sqrt(dim),       e = .7555 with one bit (sqrt(pi/2 - 1)), .352 with two,
 * whatever the vectors are [RaBitQ: Gao, Long 2024]. What it must tell apart are the distances of a vertex's neighbours
 * from q, which differ by little where vectors fill all of their dimensions, and by much where they lie along few. So
 * both are taken from the sample, at places in it: near neighbours there are farther than among all vectors, but the
 * ratio hardly knows (text embeddings: .47 among 4,096, .40 among 20,000). One bit is as fast as four where it is .29
 * (96 dimensions, of which vectors follow 12), and best at .47 (text embeddings, 384); two at .78 (words, 100); four at
 * 1.1 (normal, 48). */
#include "graph/build.h"

#include "base/checked.h"
#include "kernel/distance.h"

#include <math.h>

enum { PLACES = 64, NEAR = 32, QUERIES = 8, LEAST = 256 };
/* The error that is borne, in standard deviations of the distances. */
static const double MOST = 0.5, ONE_BIT = 0.7555, TWO_BITS = 0.352;

struct near {
    float apart;
    size_t row;
};

/* The rows nearest to a place, itself left out, ascending. */
static void find_near(const float *sample, size_t count, size_t dim, size_t place, struct near near[NEAR]) {
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == place) continue;
        const float d = ki_distance()->l2sq[KITH_F32](sample + place * dim, sample + i * dim, dim);
        if (found == NEAR && !(d < near[NEAR - 1].apart)) continue;
        size_t at = found < NEAR ? found++ : NEAR - 1;
        for (; at > 0 && d < near[at - 1].apart; at--) near[at] = near[at - 1];
        near[at] = (struct near){d, i};
    }
}

/* Add what estimates err by at a place, but for e, and what the distances differ by. */
static void add_place(const float *sample, size_t dim, const struct near near[NEAR], size_t query, double *error,
                      double *spread) {
    const struct near *q = &near[query];
    double lengths = 0, sum = 0, squares = 0;
    for (size_t i = 0; i < NEAR; i++) {
        if (i == query) continue;
        const double d = ki_distance()->l2sq[KITH_F32](sample + q->row * dim, sample + near[i].row * dim, dim);
        lengths += sqrt((double)q->apart * near[i].apart);
        sum += d;
        squares += d * d;
    }
    const double n = NEAR - 1, variance = squares / n - sum / n * (sum / n);
    *error += 2 * lengths / n / sqrt((double)dim);
    *spread += variance > 0 ? sqrt(variance) : 0;
}

uint32_t ki_graph_bits(const float *sample, size_t count, size_t dim) {
    double error = 0, spread = 0;
    if (count < LEAST) return 4; /* of few vectors rows may be long */
    for (size_t p = 0; p < PLACES; p++) {
        struct near near[NEAR];
        find_near(sample, count, dim, p * count / PLACES, near);
        add_place(sample, dim, near, p % QUERIES, &error, &spread);
    }
    if (ONE_BIT * error <= MOST * spread) return 1;
    return TWO_BITS * error <= MOST * spread ? 2 : 4;
}
