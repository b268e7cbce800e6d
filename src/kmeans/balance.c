/* SPDX-License-Identifier: Apache-2.0
 *
 * Balance: a list above twice the mean is cut in two at the mean of the coordinate in which it is widest, and the
 * second half takes the place of the list with the fewest rows, whose rows find other lists in the next round. */
#include "kmeans/inner.h"

#include "base/checked.h"

#include <string.h>

/* A list of less than one part in this of the mean may be given up for a split. */
enum { DONOR_PART = 2 };

struct list_rows {
    uint32_t rows, list;
};

static int compare_rows(const void *a, const void *b) {
    const struct list_rows *x = a, *y = b;
    if (x->rows != y->rows) return x->rows < y->rows ? -1 : 1;
    return x->list < y->list ? -1 : x->list > y->list;
}

/* The coordinate in which list `list` is widest about its centroid; false if it is a point. */
static int widest(const ki_members *m, size_t list, const float *centroid, double *square, size_t *coordinate) {
    memset(square, 0, m->dim * sizeof(*square));
    for (size_t at = m->first[list]; at < m->first[list + 1]; at++) {
        const float *row = ki_member(m, at);
        for (size_t j = 0; j < m->dim; j++) {
            const double off = (double)row[j] - (double)centroid[j];
            square[j] += off * off;
        }
    }
    *coordinate = 0;
    for (size_t j = 1; j < m->dim; j++)
        if (square[j] > square[*coordinate]) *coordinate = j;
    return square[*coordinate] > 0;
}

static void divide(float *sum, size_t dim, uint32_t rows) {
    for (size_t j = 0; j < dim; j++) sum[j] /= (float)rows;
}

/* Cut `list` in two: its centroid becomes the mean of one half, `other` that of the other. halves: 2 x dim floats to
 * work in. Returns the rows of the other half; 0: the list cannot be cut, and nothing changed. */
static uint32_t cut(const ki_members *m, size_t list, double *square, float *halves, float *centroid, float *other) {
    size_t coordinate;
    uint32_t rows[2] = {0, 0};
    if (!widest(m, list, centroid, square, &coordinate)) return 0;
    memset(halves, 0, 2 * m->dim * sizeof(*halves));
    for (size_t at = m->first[list]; at < m->first[list + 1]; at++) {
        const float *row = ki_member(m, at);
        const int above = row[coordinate] > centroid[coordinate];
        float *half = halves + (above ? m->dim : 0);
        for (size_t j = 0; j < m->dim; j++) half[j] += row[j];
        rows[above]++;
    }
    if (!rows[0] || !rows[1]) return 0;
    divide(halves, m->dim, rows[0]);
    divide(halves + m->dim, m->dim, rows[1]);
    memcpy(centroid, halves, m->dim * sizeof(*halves));
    memcpy(other, halves + m->dim, m->dim * sizeof(*halves));
    return rows[1];
}

struct cutter {
    const ki_members *members;
    struct list_rows *by_rows; /* ascending */
    double *square;
    float *halves;
};

static size_t cut_largest(const struct cutter *c, int empty_only, float *centroids, uint32_t *rows) {
    const ki_members *m = c->members;
    const uint64_t total = m->first[m->lists];
    size_t donor = 0, splits = 0;
    for (size_t large = m->lists; large-- > donor + 1;) {
        const uint64_t most = c->by_rows[large].rows, least = c->by_rows[donor].rows;
        const int unbalanced = most * m->lists > 2 * total && least * m->lists * DONOR_PART < total;
        if (most < 2 || (least && (empty_only || !unbalanced))) break;
        const size_t from = c->by_rows[large].list, to = c->by_rows[donor].list;
        const uint32_t moved = cut(m, from, c->square, c->halves, centroids + from * m->dim, centroids + to * m->dim);
        if (!moved) continue;
        rows[from] -= moved;
        rows[to] = moved;
        donor++;
        splits++;
    }
    return splits;
}

kith_status ki_kmeans_balance(const ki_members *members, int empty_only, float *centroids, uint32_t *rows,
                              size_t *splits) {
    const size_t lists = members->lists, dim = members->dim;
    struct cutter c = {.members = members,
                       .by_rows = ki_alloc_array(lists, sizeof(*c.by_rows)),
                       .square = ki_alloc_array(dim, sizeof(*c.square)),
                       .halves = ki_alloc_array(dim, 2 * sizeof(*c.halves))};
    const int ready = c.by_rows && c.square && c.halves;
    if (ready) {
        for (size_t l = 0; l < lists; l++) c.by_rows[l] = (struct list_rows){rows[l], (uint32_t)l};
        qsort(c.by_rows, lists, sizeof(*c.by_rows), compare_rows);
        *splits = cut_largest(&c, empty_only, centroids, rows);
    }
    free(c.by_rows);
    free(c.square);
    free(c.halves);
    return ready ? KITH_OK : KITH_E_NOMEM;
}
