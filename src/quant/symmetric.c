/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/symmetric.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Four chains: a quarter of the latency. */
static double dot(const double *x, const double *y, size_t n) {
    double part[4] = {0, 0, 0, 0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t c = 0; c < 4; c++) part[c] += x[i + c] * y[i + c];
    for (; i < n; i++) part[0] += x[i] * y[i];
    return part[0] + part[1] + (part[2] + part[3]);
}

/* y += a x */
static void add(double a, const double *x, double *y, size_t n) {
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t c = 0; c < 4; c++) y[i + c] += a * x[i + c];
    for (; i < n; i++) y[i] += a * x[i];
}

/* Rows x and y turned: x' = c x - s y, y' = s x + c y. */
static void turn(double *x, double *y, double c, double s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const double old = x[i];
        x[i] = c * old - s * y[i];
        y[i] = s * old + c * y[i];
    }
}

/* Make of x (n numbers) the Householder vector v, |v|^2 = 2 or 0, for which (I - v v') x is `*first` times the first
 * axis. */
static void householder(double *x, size_t n, double *first) {
    double largest = 0;
    for (size_t i = 1; i < n; i++) largest = fmax(largest, fabs(x[i]));
    *first = x[0];
    if (!(largest > 0)) { /* nothing to remove */
        memset(x, 0, n * sizeof(*x));
        return;
    }
    largest = fmax(largest, fabs(x[0]));
    for (size_t i = 0; i < n; i++) x[i] /= largest;
    const double length = sqrt(dot(x, x, n)), to = x[0] > 0 ? -length : length;
    const double scale = sqrt(length * (length + fabs(x[0]))); /* |x - to e|^2 = 2 scale^2 */
    x[0] -= to;
    for (size_t i = 0; i < n; i++) x[i] /= scale;
    *first = to * largest;
}

/* Three diagonals from the matrix: `diagonal`, `beside` (beside[i] between i and i + 1). Row i of the matrix keeps the
 * vector of step i from column i + 1 on. */
static void reduce(double *matrix, size_t n, double *diagonal, double *beside, double *p) {
    for (size_t i = 0; i + 1 < n; i++) {
        double *v = matrix + i * n + i + 1;
        const size_t m = n - i - 1;
        diagonal[i] = matrix[i * n + i];
        householder(v, m, &beside[i]);
        for (size_t r = 0; r < m; r++) p[r] = dot(matrix + (i + 1 + r) * n + i + 1, v, m);
        add(-dot(p, v, m) / 2, v, p, m);
        for (size_t r = 0; r < m; r++) {
            double *row = matrix + (i + 1 + r) * n + i + 1;
            add(-v[r], p, row, m);
            add(-p[r], v, row, m);
        }
    }
    diagonal[n - 1] = matrix[n * n - 1];
    beside[n - 1] = 0;
}

/* The product of the steps, transposed: row i of `vectors` is axis i of the reduced matrix. */
static void accumulate(const double *matrix, size_t n, double *vectors, double *p) {
    memset(vectors, 0, n * n * sizeof(*vectors));
    for (size_t i = 0; i < n; i++) vectors[i * n + i] = 1;
    /* Rows i + 1.. times (I - v v'), from the last step to the first; columns before i + 1 are still those of I. */
    for (size_t i = n - 1; i-- > 0;) {
        const double *v = matrix + i * n + i + 1;
        const size_t m = n - i - 1;
        for (size_t r = 0; r < m; r++) p[r] = dot(vectors + (i + 1 + r) * n + i + 1, v, m);
        for (size_t r = 0; r < m; r++) add(-p[r], v, vectors + (i + 1 + r) * n + i + 1, m);
    }
}

/* One implicit QL step on rows low..high. */
static void step(double *d, double *e, double *vectors, size_t n, size_t low, size_t high) {
    const double half = (d[low + 1] - d[low]) / (2 * e[low]), root = hypot(half, 1);
    double g = d[high] - d[low] + e[low] / (half + copysign(root, half));
    double s = 1, c = 1, p = 0;
    for (size_t i = high; i-- > low;) {
        const double f = s * e[i], b = c * e[i], r = hypot(f, g);
        e[i + 1] = r;
        if (r == 0) { /* splits here */
            d[i + 1] -= p;
            e[high] = 0;
            return;
        }
        s = f / r;
        c = g / r;
        g = d[i + 1] - p;
        const double t = (d[i] - g) * s + 2 * c * b;
        p = s * t;
        d[i + 1] = g + p;
        g = c * t - b;
        turn(vectors + i * n, vectors + (i + 1) * n, c, s, n);
    }
    d[low] -= p;
    e[low] = g;
    e[high] = 0;
}

int ki_symmetric_eigen(double *matrix, size_t n, double *values, double *vectors, double *work) {
    enum { STEPS = 60 };
    double *e = work, *p = work + n;
    reduce(matrix, n, values, e, p);
    accumulate(matrix, n, vectors, p);
    for (size_t low = 0; low < n; low++)
        for (int steps = 0;; steps++) {
            size_t high = low;
            while (high + 1 < n && fabs(e[high]) > DBL_EPSILON * (fabs(values[high]) + fabs(values[high + 1]))) high++;
            if (high == low) break;
            if (steps == STEPS) return 0;
            step(values, e, vectors, n, low, high);
        }
    return 1;
}
