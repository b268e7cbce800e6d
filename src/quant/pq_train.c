/* SPDX-License-Identifier: Apache-2.0
 *
 * Learning product codes: k-means by Lloyd's algorithm in each part by itself, from centres that are drawn with
 * probability proportional to the squared distance to those drawn before [Arthur, Vassilvitskii: k-means++, 2007].
 *
 * K1. A part is one piece of the pool's work and draws from a random source of its own, so results do not depend on the
 *     threads.
 * K2. A centroid without points takes the point that is farthest from its own one. */
#include "quant/pq_train.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "kernel/pq_scan.h"
#include "quant/second_model.h"

enum { ROUNDS = 25, DRAWN_FROM = 4096, PIECES_TOLD = 16 };

/* Lloyd's algorithm ends when a round lowers the error by less than this share. */
static const double settled = 1e-4;

int ki_pq_tell(const ki_pq_teller *teller, size_t part, size_t parts) {
    if (!teller || !teller->progress) return 1;
    const kith_progress progress = {.struct_size = sizeof(progress),
                                    .stage = "learning codes",
                                    .unit = "vectors",
                                    .done = (uint64_t)((double)teller->total * (double)part / (double)parts),
                                    .total = teller->total};
    return teller->progress(teller->context, &progress) == 0;
}

/* One part while it is learned. */
struct lloyd {
    const float *points; /* count x part */
    size_t count, part, columns;
    float *book, *bias;
    uint8_t *code;    /* of each point */
    float *distance2; /* of each point to its centroid */
    double *sums;     /* columns x part */
    size_t *sizes;    /* columns */
};

static double square_distance(const float *x, const float *y, size_t part) {
    double sum = 0;
    for (size_t j = 0; j < part; j++) sum += ((double)x[j] - (double)y[j]) * ((double)x[j] - (double)y[j]);
    return sum;
}

static void set_centroid(const struct lloyd *l, size_t k, const float *point) {
    for (size_t j = 0; j < l->part; j++) l->book[j * l->columns + k] = point[j];
}

/* Bias of all centroids: -|c|^2/2. */
static void set_bias(const struct lloyd *l) {
    for (size_t k = 0; k < l->columns; k++) {
        double square = 0;
        for (size_t j = 0; j < l->part; j++) {
            const double c = l->book[j * l->columns + k];
            square += c * c;
        }
        l->bias[k] = (float)(-square / 2);
    }
}

/* Draw first centroids from an even choice of the points. */
static void draw(const struct lloyd *l, ki_rng *rng) {
    const size_t n = ki_min_size(l->count, DRAWN_FROM);
    for (size_t i = 0; i < n; i++) l->distance2[i] = INFINITY;
    size_t chosen = (size_t)ki_rng_below(rng, n);
    for (size_t k = 0; k < l->columns; k++) {
        const float *centre = l->points + chosen * l->count / n * l->part;
        double total = 0;
        set_centroid(l, k, centre);
        for (size_t i = 0; i < n; i++) {
            const float d = (float)square_distance(l->points + i * l->count / n * l->part, centre, l->part);
            if (d < l->distance2[i]) l->distance2[i] = d;
            total += l->distance2[i];
        }
        double left = ki_rng_unit(rng) * total;
        chosen = 0;
        while (chosen + 1 < n && left >= l->distance2[chosen]) left -= l->distance2[chosen++];
    }
}

/* Every point to its nearest centroid; the sum of squared distances. */
static double assign(const struct lloyd *l) {
    const ki_pq_kernels *kernels = ki_pq();
    double total = 0;
    for (size_t i = 0; i < l->count; i++) {
        const float *point = l->points + i * l->part;
        float best, square = 0;
        l->code[i] = (uint8_t)kernels->nearest(point, l->book, l->bias, l->part, l->columns, &best);
        for (size_t j = 0; j < l->part; j++) square += point[j] * point[j];
        const float distance2 = square - 2 * best;
        l->distance2[i] = distance2 > 0 ? distance2 : 0;
        total += l->distance2[i];
    }
    return total;
}

static size_t farthest(const struct lloyd *l) {
    size_t found = 0;
    for (size_t i = 1; i < l->count; i++)
        if (l->distance2[i] > l->distance2[found]) found = i;
    return found;
}

/* Centroids to the means of their points (K2). */
static void move(const struct lloyd *l) {
    memset(l->sums, 0, l->columns * l->part * sizeof(*l->sums));
    memset(l->sizes, 0, l->columns * sizeof(*l->sizes));
    for (size_t i = 0; i < l->count; i++) {
        double *sum = l->sums + l->code[i] * l->part;
        for (size_t j = 0; j < l->part; j++) sum[j] += (double)l->points[i * l->part + j];
        l->sizes[l->code[i]]++;
    }
    for (size_t k = 0; k < l->columns; k++) {
        if (l->sizes[k]) {
            for (size_t j = 0; j < l->part; j++)
                l->book[j * l->columns + k] = (float)(l->sums[k * l->part + j] / (double)l->sizes[k]);
        } else {
            const size_t i = farthest(l);
            set_centroid(l, k, l->points + i * l->part);
            l->distance2[i] = 0;
        }
    }
    set_bias(l);
}

static void lloyd_run(const struct lloyd *l, int flags, unsigned rounds, ki_rng *rng) {
    double before = INFINITY;
    if (l->count == 0) {
        memset(l->book, 0, l->columns * l->part * sizeof(float));
        set_bias(l);
        return;
    }
    if (flags & KI_PQ_FRESH) draw(l, rng);
    set_bias(l);
    for (unsigned round = 0; round < rounds; round++) {
        const double total = assign(l);
        if (total >= before * (1 - settled)) return;
        before = total;
        move(l);
    }
    assign(l);
}

/* ---- All parts --------------------------------------------------------------------------------------------------- */

struct learning {
    const ki_pq_model *model;
    const ki_pq_rows *rows;
    int flags;
    unsigned rounds;
    uint64_t seed;
    uint8_t *assigned;
    size_t first;  /* part of piece 0 */
    size_t failed; /* parts that had no memory; atomic */
};

static int lloyd_make(struct lloyd *l, const struct learning *learning, size_t s) {
    const ki_pq_model *model = learning->model;
    const size_t part = model->part, columns = model->columns, count = learning->rows->count;
    float *points = ki_alloc_array((uint64_t)count * part, sizeof(float));
    *l = (struct lloyd){.points = points,
                        .count = count,
                        .part = part,
                        .columns = columns,
                        .book = model->books + s * part * columns,
                        .bias = model->bias + s * columns,
                        .code = ki_alloc_array(count, 1),
                        .distance2 = ki_alloc_array(count, sizeof(float)),
                        .sums = ki_alloc_array((uint64_t)columns * part, sizeof(double)),
                        .sizes = ki_alloc_array(columns, sizeof(size_t))};
    if (!points || !l->code || !l->distance2 || !l->sums || !l->sizes) return 0;
    for (size_t i = 0; i < count; i++)
        memcpy(points + i * part, learning->rows->rows + i * learning->rows->stride + s * part, part * sizeof(float));
    return 1;
}

static void learn_part(void *context, size_t piece, unsigned worker) {
    struct learning *learning = context;
    const size_t s = learning->first + piece;
    struct lloyd l;
    (void)worker;
    if (lloyd_make(&l, learning, s)) {
        ki_rng rng = {learning->seed + s * UINT64_C(0xD1B54A32D192ED03)};
        lloyd_run(&l, learning->flags, learning->rounds, &rng);
        for (size_t i = 0; i < l.count && learning->assigned; i++)
            learning->assigned[i * learning->model->m + s] = l.code[i];
    } else {
        __atomic_fetch_add(&learning->failed, 1, __ATOMIC_RELAXED);
    }
    free((void *)(uintptr_t)l.points);
    free(l.code);
    free(l.distance2);
    free(l.sums);
    free(l.sizes);
}

kith_status ki_pq_learn(const ki_pq_model *model, const ki_pq_rows *rows, int flags, unsigned rounds, uint64_t seed,
                        kith_pool *pool, const ki_pq_teller *teller, uint8_t *assigned) {
    struct learning learning = {
        .model = model, .rows = rows, .flags = flags, .rounds = rounds, .seed = seed, .assigned = assigned};
    const size_t step = teller ? ki_min_size(model->m, PIECES_TOLD) : model->m;
    while (learning.first < model->m) {
        const size_t pieces = ki_min_size(step, model->m - learning.first);
        if (!ki_pq_tell(teller, learning.first, model->m)) return KITH_E_CANCELLED;
        ki_pool_run(pool, pieces, learn_part, &learning);
        if (learning.failed) return KITH_E_NOMEM;
        learning.first += pieces;
    }
    return KITH_OK;
}

kith_status ki_pq_train(const ki_second_spec *spec, const float *residuals, size_t count, size_t dim, uint64_t seed,
                        kith_pool *pool, kith_progress_fn progress, void *progress_context, void **model,
                        size_t *model_bytes) {
    const ki_pq_teller teller = {progress, progress_context, count};
    const uint64_t bytes = ki_pq_model_bytes(spec, dim);
    uint8_t *memory = ki_alloc_array_zeroed(bytes, 1);
    float *turned = spec->rotated ? ki_alloc_array((uint64_t)count * dim, sizeof(float)) : NULL;
    kith_status status = KITH_E_NOMEM;
    if (!memory || (spec->rotated && !turned)) goto out;
    ki_second_header_write(memory, spec, dim, bytes);
    const ki_pq_model parts = ki_pq_model_of(spec, dim, memory);
    ki_pq_rows rows = {residuals, count, dim};
    if (spec->rotated) {
        float omega;
        status = ki_opq_learn(&parts, residuals, count, seed, pool, &teller, turned, &omega);
        if (status != KITH_OK) goto out;
        ki_store_f32(memory + KI_SECOND_OWN, omega);
        rows.rows = turned;
    }
    status = ki_pq_learn(&parts, &rows, KI_PQ_FRESH, ROUNDS, seed, pool, spec->rotated ? NULL : &teller, NULL);
    if (status == KITH_OK && !ki_pq_tell(&teller, 1, 1)) status = KITH_E_CANCELLED;
out:
    free(turned);
    if (status == KITH_OK) {
        *model = memory;
        *model_bytes = bytes;
    } else {
        free(memory);
    }
    return status;
}
