/* SPDX-License-Identifier: Apache-2.0
 *
 * The rotation of optimised product quantisation [Ge, He, Ke, Sun 2013]. It begins with the principal directions of the
 * rows, dealt to the parts so that the products of their variances come out even (the solution for normal data), and
 * then takes turns: books for the rotated rows X B, and the rotation nearest to turning X into what the books make of
 * it, the polar factor of X'Y, Y the rows as coded [the orthogonal Procrustes problem, Schoenemann 1966].
 *
 * The polar factor comes from Newton-Schulz steps Z (3 - Z'Z) / 2, which are matrix products only, in float. Steps on
 * 1.5 Z come first: they lift small singular values by 2.25 a step rather than 1.5 and keep all in (0, 1].
 *
 * O1. A small multiple of the rotation so far is added to X'Y: directions in which the rows say nothing keep theirs,
 *     and no singular value is near 0.
 * O2. A result that is not orthonormal after all is not taken. What a rotation lacks of it (omega) is measured, in
 *     double, and stored.
 * O3. Products are cut into pieces by their shape alone, so results do not depend on the threads. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/project.h"
#include "quant/pq_train.h"
#include "quant/symmetric.h"

enum {
    TURNS = 10,         /* of books and rotation: 20 and 40 left as much of embeddings (0.458 of 0.457) */
    ROUNDS_FIRST = 8,   /* of Lloyd's algorithm, at the first turn */
    ROUNDS = 3,         /* and at the others */
    PIECE_ROWS = 48,    /* rows of a piece of a product: a multiple of the kernels' panels */
    POWER_STEPS = 12,   /* towards the largest singular value */
    LIFTING_STEPS = 10, /* of Newton-Schulz: 2.25^10 > 3000, see `kept` */
    SETTLING_STEPS = 6
};

/* Directions of less variance than this share of the largest are dealt as if they had it. */
static const double least_share = 1e-6;
/* The share of the rotation so far in the next one (O1). */
static const float kept = 1e-3f;
/* The most that a rotation may lack of orthonormality; ki_pq_view takes no more than 0.01. */
static const double lack_most = 1e-3;

/* Matrices have `wide` columns, dim of them in use and the others zero. */
struct turning {
    const ki_pq_model *model;
    const float *rows;
    size_t count, dim, wide;
    kith_pool *pool;
    float *across;                     /* rows transposed: dim x count */
    float *coded;                      /* count x wide: rows rotated, then as coded */
    uint8_t *codes;                    /* count x m */
    float *basis;                      /* dim x wide: B */
    float *next, *square, *spare;      /* wide x wide */
    double *matrix, *vectors, *values; /* dim x dim, dim x dim, 4 dim */
};

/* ---- Products ---------------------------------------------------------------------------------------------------- */

struct product {
    const float *rows, *basis;
    size_t count, dim, columns;
    float *out;
};

static void product_piece(void *context, size_t piece, unsigned worker) {
    const struct product *p = context;
    const size_t first = piece * PIECE_ROWS;
    (void)worker;
    ki_projector()->project(p->rows + first * p->dim, ki_min_size(PIECE_ROWS, p->count - first), p->dim, p->basis,
                            p->columns, p->out + first * p->columns);
}

/* out (count x columns) = rows (count x dim) * basis (dim x columns) */
static void multiply(kith_pool *pool, const float *rows, size_t count, size_t dim, const float *basis, size_t columns,
                     float *out) {
    struct product product = {rows, basis, count, dim, columns, out};
    ki_pool_run(pool, (count + PIECE_ROWS - 1) / PIECE_ROWS, product_piece, &product);
}

/* to (columns x rows) = from (rows x columns, `stride` apart) transposed, by tiles that stay in cache. */
static void transpose(const float *from, size_t rows, size_t columns, size_t stride, float *to) {
    enum { TILE = 32 };
    for (size_t r = 0; r < rows; r += TILE)
        for (size_t c = 0; c < columns; c += TILE)
            for (size_t i = r; i < rows && i < r + TILE; i++)
                for (size_t j = c; j < columns && j < c + TILE; j++) to[j * rows + i] = from[i * stride + j];
}

/* to (count x wide) = from (count x dim), zeros added. */
static void widen(const float *from, size_t count, size_t dim, size_t wide, float *to) {
    for (size_t i = 0; i < count; i++) {
        memcpy(to + i * wide, from + i * dim, dim * sizeof(float));
        memset(to + i * wide + dim, 0, (wide - dim) * sizeof(float));
    }
}

/* ---- The beginning ----------------------------------------------------------------------------------------------- */

/* order: the numbers of `values`, from the largest down. */
static void sort_down(const double *values, size_t n, size_t *order) {
    for (size_t i = 0; i < n; i++) {
        size_t at = i;
        for (; at > 0 && values[order[at - 1]] < values[i]; at--) order[at] = order[at - 1];
        order[at] = i;
    }
}

/* Deal directions to parts, the largest first, each to the part with room whose product of variances is least. Column c
 * of the basis is direction from[c]. */
static void deal(const ki_pq_model *model, const double *values, const size_t *order, double *products, size_t *filled,
                 size_t *from) {
    for (size_t s = 0; s < model->m; s++) products[s] = 0, filled[s] = 0;
    for (size_t i = 0; i < model->dim; i++) {
        size_t best = model->m;
        for (size_t s = 0; s < model->m; s++)
            if (filled[s] < model->part && (best == model->m || products[s] < products[best])) best = s;
        /* Logarithms, in a unit in which no variance is below 1, so that an empty part has the least product. */
        const double share = values[order[0]] > 0 ? values[order[i]] / values[order[0]] : 1;
        products[best] += log((share > least_share ? share : least_share) / least_share);
        from[best * model->part + filled[best]++] = order[i];
    }
}

static int begin(struct turning *t) {
    const size_t dim = t->dim;
    size_t *order = ki_alloc_array(4 * (uint64_t)dim, sizeof(size_t));
    if (!order) return 0;
    widen(t->rows, t->count, dim, t->wide, t->coded);
    multiply(t->pool, t->across, dim, t->count, t->coded, t->wide, t->next);
    for (size_t i = 0; i < dim; i++)
        for (size_t j = 0; j <= i; j++) t->matrix[i * dim + j] = t->matrix[j * dim + i] = t->next[i * t->wide + j];
    memset(t->basis, 0, dim * t->wide * sizeof(float));
    if (ki_symmetric_eigen(t->matrix, dim, t->values, t->vectors, t->values + dim)) {
        sort_down(t->values, dim, order);
        deal(t->model, t->values, order, t->values + dim, order + dim, order + 2 * dim);
        for (size_t c = 0; c < dim; c++)
            for (size_t j = 0; j < dim; j++)
                t->basis[j * t->wide + c] = (float)t->vectors[order[2 * dim + c] * dim + j];
    } else {
        for (size_t j = 0; j < dim; j++) t->basis[j * t->wide + j] = 1;
    }
    free(order);
    return 1;
}

/* ---- The nearest rotation ---------------------------------------------------------------------------------------- */

/* About the largest singular value of z (dim x wide), by power steps; never much above it. */
static float largest_singular(const float *z, size_t dim, size_t wide, double *x, double *y) {
    double length = 0;
    for (size_t j = 0; j < dim; j++) x[j] = 1 + 0.5 * (double)(j % 7);
    for (int step = 0; step < POWER_STEPS; step++) {
        double square = 0, result = 0;
        for (size_t j = 0; j < dim; j++) square += x[j] * x[j];
        const double inverse = square > 0 ? 1 / sqrt(square) : 0;
        memset(y, 0, dim * sizeof(*y));
        for (size_t i = 0; i < dim; i++) {
            double product = 0;
            for (size_t j = 0; j < dim; j++) product += (double)z[i * wide + j] * x[j] * inverse;
            result += product * product;
            for (size_t j = 0; j < dim; j++) y[j] += (double)z[i * wide + j] * product;
        }
        length = sqrt(result);
        memcpy(x, y, dim * sizeof(*x));
    }
    return (float)length;
}

/* z (dim x wide) = z (3 - lift^2 z'z) lift / 2 */
static void newton_schulz(struct turning *t, float *z, float lift) {
    const size_t dim = t->dim, wide = t->wide;
    transpose(z, dim, wide, wide, t->spare);                    /* wide x dim */
    multiply(t->pool, t->spare, wide, dim, z, wide, t->square); /* z'z */
    for (size_t i = 0; i < wide * wide; i++) t->square[i] *= -lift * lift * lift / 2;
    for (size_t i = 0; i < wide; i++) t->square[i * wide + i] += 1.5f * lift;
    multiply(t->pool, z, dim, wide, t->square, wide, t->spare);
    memcpy(z, t->spare, dim * wide * sizeof(float));
}

/* The Frobenius norm of z'z - I, z dim x wide, rounded up; products of floats are exact in double. */
static double lack_of(const struct turning *t, const float *z) {
    double sum = 0;
    transpose(z, t->dim, t->dim, t->wide, t->spare);
    for (size_t a = 0; a < t->dim; a++)
        for (size_t b = 0; b <= a; b++) {
            const float *x = t->spare + a * t->dim, *y = t->spare + b * t->dim;
            double part[4] = {0, 0, 0, 0};
            for (size_t j = 0; j < t->dim; j++) part[j % 4] += (double)x[j] * (double)y[j];
            const double product = part[0] + part[1] + part[2] + part[3] - (a == b);
            sum += product * product * (a == b ? 1 : 2);
        }
    return sqrt(sum) * 1.001;
}

/* The same about, in float: good enough to tell a rotation from none. */
static double lack_about(struct turning *t, const float *z) {
    double sum = 0;
    transpose(z, t->dim, t->wide, t->wide, t->spare);
    multiply(t->pool, t->spare, t->dim, t->dim, z, t->wide, t->square);
    for (size_t i = 0; i < t->dim; i++)
        for (size_t j = 0; j < t->dim; j++) {
            const double product = (double)t->square[i * t->wide + j] - (i == j);
            sum += product * product;
        }
    return sqrt(sum);
}

/* Replace the basis by the polar factor of `next` (= X'Y); false: there is none to be had, the basis stays. */
static int turn(struct turning *t) {
    const size_t dim = t->dim, wide = t->wide;
    const float largest = largest_singular(t->next, dim, wide, t->values, t->values + dim);
    if (!(largest > FLT_MIN && largest < FLT_MAX)) return 0;
    /* Power steps come short by some per cent; Newton-Schulz on 1.5 z converges up to 1.15. */
    const float scale = 1 / (1.1f * largest);
    for (size_t i = 0; i < dim * wide; i++) t->next[i] = t->next[i] * scale + kept * t->basis[i];
    for (int i = 0; i < LIFTING_STEPS; i++) newton_schulz(t, t->next, 1.5f);
    for (int i = 0; i < SETTLING_STEPS; i++) newton_schulz(t, t->next, 1);
    if (!(lack_about(t, t->next) <= lack_most)) return 0;
    memcpy(t->basis, t->next, dim * wide * sizeof(float));
    return 1;
}

/* Rows as their codes say, in place of the rotated ones. */
static void decode(const struct turning *t) {
    const ki_pq_model *model = t->model;
    for (size_t i = 0; i < t->count; i++)
        for (size_t j = 0; j < t->dim; j++)
            t->coded[i * t->wide + j] = model->books[j * model->columns + t->codes[i * model->m + j / model->part]];
}

static kith_status take_turns(struct turning *t, uint64_t seed, const ki_pq_teller *teller) {
    const ki_pq_rows rotated = {t->coded, t->count, t->wide};
    for (int i = 0; i < TURNS; i++) {
        if (!ki_pq_tell(teller, (size_t)i, TURNS + 1)) return KITH_E_CANCELLED;
        multiply(t->pool, t->rows, t->count, t->dim, t->basis, t->wide, t->coded);
        const kith_status status = ki_pq_learn(t->model, &rotated, i ? 0 : KI_PQ_FRESH, i ? ROUNDS : ROUNDS_FIRST, seed,
                                               t->pool, NULL, t->codes);
        if (status != KITH_OK) return status;
        decode(t);
        multiply(t->pool, t->across, t->dim, t->count, t->coded, t->wide, t->next);
        if (!turn(t)) break;
    }
    return KITH_OK;
}

kith_status ki_opq_learn(const ki_pq_model *model, const float *rows, size_t count, uint64_t seed, kith_pool *pool,
                         const ki_pq_teller *teller, float *turned, float *omega) {
    const uint64_t dim = model->dim, wide = ki_round_up(dim, KI_PROJECT_COLUMNS), n = count;
    struct turning t = {.model = model, .rows = rows, .count = count, .dim = dim, .wide = wide, .pool = pool};
    kith_status status = KITH_E_NOMEM;
    t.across = ki_alloc_array(n * dim, sizeof(float));
    t.coded = ki_alloc_array(n * wide, sizeof(float));
    t.codes = ki_alloc_array(n * model->m, 1);
    t.basis = ki_alloc_array(dim * wide, sizeof(float));
    t.next = ki_alloc_array_zeroed(wide * wide, sizeof(float));
    t.square = ki_alloc_array(wide * wide, sizeof(float));
    t.spare = ki_alloc_array(wide * wide, sizeof(float));
    t.matrix = ki_alloc_array(dim * dim, sizeof(double));
    t.vectors = ki_alloc_array(dim * dim, sizeof(double));
    t.values = ki_alloc_array(4 * dim, sizeof(double));
    if (!t.across || !t.coded || !t.codes || !t.basis || !t.next || !t.square || !t.spare || !t.matrix || !t.vectors ||
        !t.values)
        goto out;
    transpose(rows, count, dim, dim, t.across);
    if (!begin(&t)) goto out;
    status = take_turns(&t, seed, teller);
    if (status != KITH_OK) goto out;
    *omega = (float)lack_of(&t, t.basis) * (1 + 0x1p-20f);
    transpose(t.basis, dim, dim, wide, model->rotation);
    multiply(pool, rows, count, dim, t.basis, wide, t.coded);
    for (size_t i = 0; i < count; i++) memcpy(turned + i * dim, t.coded + i * wide, dim * sizeof(float));
out:
    free(t.across);
    free(t.coded);
    free(t.codes);
    free(t.basis);
    free(t.next);
    free(t.square);
    free(t.spare);
    free(t.matrix);
    free(t.vectors);
    free(t.values);
    return status;
}
