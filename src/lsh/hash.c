/* SPDX-License-Identifier: Apache-2.0
 *
 * From a vector to the keys of tables, and to what else its neighbours may have there. Fixed order, no choices by tier:
 * the same on every machine. */
#include "base/checked.h"
#include "lsh/inner.h"
#include "quant/rotate.h"

#include <string.h>

/* Of each function, of all of a table's, and minima: more other values than these are next to never the likeliest. */
enum { OTHERS_MAX = 512, OTHERS_OF_ALL = 128, MINIMA_MAX = 16 };

void ki_lsh_hasher_free(ki_lsh_hasher *hasher) {
    free(hasher->point.data);
    free(hasher->rotated.data);
    free(hasher->values.data);
    *hasher = (ki_lsh_hasher){0};
}

size_t ki_lsh_others(const ki_lsh *lsh, size_t effort) {
    const size_t fair = lsh->functions == 1 ? OTHERS_MAX : OTHERS_OF_ALL / lsh->functions;
    const size_t wanted = ki_min_size(2 * ki_min_size(effort, OTHERS_MAX) + 4, fair ? fair : 1);
    switch (lsh->kind) {
    case KI_LSH_CROSS:
        return ki_min_size(wanted, 2 * (size_t)lsh->reach - 1);
    case KI_LSH_BITS:
        return 1;
    default:
        return ki_min_size(wanted, MINIMA_MAX);
    }
}

/* One function's values of a vector: its own first, then others, likeliest first. */
struct ranked {
    float rank[OTHERS_MAX + 1]; /* by kind; ascending */
    uint32_t value[OTHERS_MAX + 1];
    size_t count;
};

/* Keep the `most` of least rank; of equal ones the first. */
static inline void rank_value(struct ranked *r, size_t most, float rank, uint32_t value) {
    if (r->count == most) {
        if (!(rank < r->rank[most - 1])) return;
        r->count--;
    }
    size_t at = r->count++;
    for (; at && rank < r->rank[at - 1]; at--) {
        r->rank[at] = r->rank[at - 1];
        r->value[at] = r->value[at - 1];
    }
    r->rank[at] = rank;
    r->value[at] = value;
}

/* ---- Kinds ------------------------------------------------------------------------------------------------------- */

/* The largest coordinate, by size; value 2 i, or 2 i + 1 where it is negative. */
static void cross_value(const float *x, uint32_t reach, struct ranked *r, size_t most) {
    r->count = 0;
    if (most > 1) {
        for (uint32_t i = 0; i < 2 * reach; i++) rank_value(r, most, i % 2 ? x[i / 2] : -x[i / 2], i);
        return;
    }
    float best = -1;
    r->count = 1;
    r->value[0] = 0;
    for (uint32_t i = 0; i < reach; i++) {
        const float size = x[i] < 0 ? -x[i] : x[i];
        if (!(size > best)) continue;
        best = size;
        r->value[0] = 2 * i + (x[i] < 0);
    }
}

static uint32_t bit_value(const uint8_t *x, size_t dim, uint32_t bit) {
    return bit < dim ? (uint32_t)x[bit / 8] >> bit % 8 & 1 : 0;
}

/* Each bit that is set falls into the bin of a function; a function's value is one more than its bin's first bit in the
 * table's order, and 0 where no bit is set at all. */
static void fill_bins(const uint8_t *x, size_t dim, uint64_t seed, size_t functions, struct ranked *bins, size_t most) {
    for (size_t f = 0; f < functions; f++) bins[f].count = 0;
    for (size_t byte = 0; byte < dim / 8; byte++)
        for (unsigned bits = x[byte]; bits; bits &= bits - 1) {
            const uint32_t bit = (uint32_t)(8 * byte) + (unsigned)__builtin_ctz(bits);
            const uint64_t order = ki_lsh_mix(seed + bit * UINT64_C(0x9E3779B97F4A7C15));
            const size_t bin = (size_t)((order >> 32) * functions >> 32);
            rank_value(&bins[bin], most, (float)((order & 0xffffffff) >> 8), bit + 1);
        }
}

static void borrow(struct ranked *to, const struct ranked *from) {
    to->count = from->count;
    memcpy(to->rank, from->rank, from->count * sizeof(*from->rank));
    memcpy(to->value, from->value, from->count * sizeof(*from->value));
}

/* An empty bin takes what another has that is not, as its own sequence of bins says: equal for equal sets of full
 * ones [Shrivastava 2017]. */
static void lend_bins(uint64_t seed, size_t functions, struct ranked *bins) {
    uint64_t full = 0;
    for (size_t f = 0; f < functions; f++) full |= (uint64_t)(bins[f].count != 0) << f;
    for (size_t f = 0; f < functions; f++) {
        if (full >> f & 1) continue;
        size_t from = f;
        for (uint64_t turn = 1; full && !(full >> from & 1); turn++)
            from = (size_t)((ki_lsh_mix(seed ^ (f << 32 | turn)) >> 32) * functions >> 32);
        if (full) {
            borrow(&bins[f], &bins[from]);
        } else {
            bins[f].count = 1;
            bins[f].rank[0] = 0;
            bins[f].value[0] = 0;
        }
    }
}

/* ---- Tables ------------------------------------------------------------------------------------------------------ */

/* How unlikely a value is beside the function's own. */
static float cost_of(uint32_t kind, const struct ranked *r, size_t i) {
    if (kind != KI_LSH_CROSS) return (float)i;
    const float below = r->rank[i] - r->rank[0];
    return below * below;
}

/* The key of one table, and its other values in ascending order. */
static uint64_t finish_table(const ki_lsh *lsh, const struct ranked *values, ki_lsh_other *others, uint32_t *count) {
    uint16_t next[KI_LSH_FUNCTIONS_MAX];
    uint64_t key = 0;
    for (size_t f = 0; f < lsh->functions; f++) {
        key += values[f].value[0] * lsh->multiplier[f];
        next[f] = 1;
    }
    if (!others) return key;
    for (*count = 0;; ++*count) {
        size_t best = lsh->functions;
        float least = 0;
        for (size_t f = 0; f < lsh->functions; f++) {
            if (next[f] >= values[f].count) continue;
            const float cost = cost_of(lsh->kind, &values[f], next[f]);
            if (best < lsh->functions && !(cost < least)) continue;
            best = f;
            least = cost;
        }
        if (best == lsh->functions) return key;
        const uint64_t value = values[best].value[next[best]++];
        others[*count] = (ki_lsh_other){least, (uint32_t)best, (value - values[best].value[0]) * lsh->multiplier[best]};
    }
}

/* What is at hand while tables are hashed. */
struct hashing {
    const ki_view *view;
    const ki_lsh *lsh;
    const void *x;
    float *point, *rotated;
    size_t rotation; /* that `rotated` is of; SIZE_MAX: none yet */
};

static const float *rotated_for(struct hashing *h, size_t function) {
    const ki_lsh *lsh = h->lsh;
    const size_t rotation = function / lsh->per_rotation;
    if (rotation != h->rotation) {
        memcpy(h->rotated, h->point, lsh->width * sizeof(float));
        ki_rotate(lsh->signs + rotation * ki_rotate_bytes(lsh->width), lsh->width, h->rotated);
        h->rotation = rotation;
    }
    return h->rotated + function % lsh->per_rotation * lsh->reach;
}

static void hash_table(struct hashing *h, size_t table, struct ranked *values, size_t most) {
    const ki_lsh *lsh = h->lsh;
    const size_t first = table * lsh->functions;
    switch (lsh->kind) {
    case KI_LSH_CROSS:
        for (size_t f = 0; f < lsh->functions; f++)
            cross_value(rotated_for(h, first + f), lsh->reach, &values[f], most);
        return;
    case KI_LSH_BITS:
        for (size_t f = 0; f < lsh->functions; f++) {
            const uint32_t value = bit_value(h->x, h->view->dim, lsh->bit[first + f]);
            values[f].count = most;
            values[f].value[0] = value;
            values[f].value[most - 1] = most > 1 ? !value : value;
        }
        return;
    default:
        fill_bins(h->x, h->view->dim, lsh->seed[table], lsh->functions, values, most);
        lend_bins(lsh->seed[table], lsh->functions, values);
    }
}

int ki_lsh_hash(const ki_view *view, const ki_lsh *lsh, ki_lsh_hasher *hasher, const void *x, int query, size_t first,
                size_t end, uint64_t *keys, ki_lsh_other *others, size_t most, uint32_t *counts) {
    struct hashing h = {.view = view, .lsh = lsh, .x = x, .rotation = SIZE_MAX};
    struct ranked *values = ki_area_take(&hasher->values, lsh->functions, sizeof(*values));
    if (!values) return 0;
    if (lsh->kind == KI_LSH_CROSS) {
        h.point = ki_area_take(&hasher->point, lsh->width, sizeof(float));
        h.rotated = ki_area_take(&hasher->rotated, lsh->width, sizeof(float));
        if (!h.point || !h.rotated) return 0;
        ki_lsh_point(lsh, x, view->dim, view->metric, query, h.point);
    }
    const size_t per_table = most * lsh->functions;
    for (size_t t = first; t < end; t++) {
        hash_table(&h, t, values, others ? most + 1 : 1);
        keys[t - first] = finish_table(lsh, values, others ? others + (t - first) * per_table : NULL,
                                       counts ? &counts[t - first] : NULL);
    }
    return 1;
}
