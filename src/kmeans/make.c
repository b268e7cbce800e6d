/* SPDX-License-Identifier: Apache-2.0
 *
 * From centroids to a ki_kmeans: ordered by supers, coded, with what searches need to know of them. */
#include "kmeans/inner.h"

#include "base/checked.h"
#include "base/counting_sort.h"
#include "kernel/distance.h"
#include "quant/int8.h"

#include <math.h>
#include <string.h>

/* Supers are this times the root of the lists: small ones are looked into more sparingly. */
enum { SUPERS = 2 };

/* The supers of some centroids: which one each belongs to, and a place for each centroid by super. */
struct grouping {
    ki_kmeans supers; /* as k-means found them, some perhaps without a centroid */
    uint32_t *super;  /* lists */
    uint32_t *place;  /* lists */
    uint32_t *first;  /* supers.lists + 2: the first place of each super */
};

static void grouping_free(struct grouping *g) {
    ki_kmeans_free(&g->supers);
    free(g->super);
    free(g->place);
    free(g->first);
}

static void place_all(struct grouping *g, size_t lists) {
    ki_sort_begin(g->first, g->supers.lists);
    for (size_t l = 0; l < lists; l++) ki_sort_count(g->first, g->super[l]);
    ki_sort_starts(g->first, g->supers.lists);
    for (size_t l = 0; l < lists; l++) g->place[l] = ki_sort_place(g->first, g->super[l]);
}

static int assign_supers(struct grouping *g, const float *centroids, size_t lists) {
    ki_assign_scratch *scratch = ki_assign_scratch_create(&g->supers);
    uint32_t(*choices)[KI_CHOICES] = ki_alloc_array(lists, sizeof(*choices));
    const int ready = scratch && choices;
    if (ready) {
        ki_kmeans_assign(&g->supers, scratch, centroids, lists, choices);
        for (size_t l = 0; l < lists; l++) g->super[l] = choices[l][0];
    }
    ki_assign_scratch_destroy(scratch);
    free(choices);
    return ready;
}

static kith_status group(const float *centroids, size_t lists, size_t dim, const float *centre, uint64_t seed,
                         kith_pool *pool, struct grouping *g) {
    const size_t wanted = (size_t)lround(SUPERS * sqrt((double)lists));
    const kith_status status =
        ki_kmeans_train(centroids, lists, dim, centre, wanted, seed, pool, NULL, NULL, &g->supers);
    if (status) return status;
    g->super = ki_alloc_array(lists, sizeof(*g->super));
    g->place = ki_alloc_array(lists, sizeof(*g->place));
    g->first = ki_alloc_array(g->supers.lists + 2, sizeof(*g->first));
    if (!g->super || !g->place || !g->first || !assign_supers(g, centroids, lists)) return KITH_E_NOMEM;
    place_all(g, lists);
    return KITH_OK;
}

/* All of a ki_kmeans is one piece of memory. */
static int make_memory(size_t lists, size_t supers, size_t dim, ki_kmeans *out, uint8_t **codes, float **factors) {
    const uint64_t row = (uint64_t)dim * sizeof(float);
    const uint64_t bytes[] = {lists * row,
                              row,
                              supers * row,
                              supers * sizeof(uint32_t),
                              ki_centroid_factors(lists) * sizeof(float),
                              ki_centroid_code_bytes(lists, dim)};
    enum { PIECES = sizeof(bytes) / sizeof(*bytes) };
    uint64_t at[PIECES], total = 0;
    for (size_t i = 0; i < PIECES; i++) {
        at[i] = total;
        total += ki_round_up(bytes[i], 64);
    }
    uint8_t *memory = ki_alloc_array_zeroed(total, 1);
    if (!memory) return 0;
    *out = (ki_kmeans){.lists = lists, .dim = dim, .memory = memory};
    out->centroids = (float *)(void *)memory;
    out->centre = (float *)(void *)(memory + at[1]);
    out->super_centroids = (float *)(void *)(memory + at[2]);
    out->super_end = (uint32_t *)(void *)(memory + at[3]);
    *factors = (float *)(void *)(memory + at[4]);
    *codes = memory + at[5];
    return 1;
}

static void take_supers(const struct grouping *g, ki_kmeans *out) {
    for (size_t s = 0; s < g->supers.lists; s++) {
        if (g->first[s] == g->first[s + 1]) continue;
        memcpy(out->super_centroids + out->supers * out->dim, g->supers.centroids + s * out->dim,
               out->dim * sizeof(float));
        out->super_end[out->supers++] = g->first[s + 1];
    }
}

static void measure(ki_kmeans *out) {
    for (size_t l = 0; l < out->lists; l++) {
        const float *factors = out->coarse.factors + l / KI_BLOCK * KI_FACTORS;
        const double norm2 = ki_distance()->norm2[KITH_F32](out->centroids + l * out->dim, out->dim);
        const float spread = factors[KI_FACTOR_NORM + l % KI_BLOCK], norm = ki_length_above((float)norm2, out->dim);
        if (spread > out->spread) out->spread = spread;
        if (norm > out->norm) out->norm = norm;
    }
}

static kith_status fill(const float *centroids, size_t lists, size_t dim, const float *centre, const struct grouping *g,
                        ki_kmeans *out) {
    ki_kmeans made;
    uint8_t *codes;
    float *factors;
    if (!make_memory(lists, g->supers.lists, dim, &made, &codes, &factors)) return KITH_E_NOMEM;
    int8_t *code = ki_alloc_array(ki_round_up(dim, 4), 1);
    float *residual = ki_alloc_array(dim, sizeof(float));
    const int ready = code && residual;
    if (ready) {
        for (size_t l = 0; l < lists; l++)
            memcpy(made.centroids + (g->place ? g->place[l] : l) * dim, centroids + l * dim, dim * sizeof(float));
        memcpy(made.centre, centre, dim * sizeof(float));
        take_supers(g, &made);
        made.coarse = ki_centroids_code(made.centroids, lists, dim, centre, code, residual,
                                        &(ki_tile_room){codes, factors, (dim + 3) / 4});
        measure(&made);
        *out = made;
    } else {
        free(made.memory);
    }
    free(code);
    free(residual);
    return ready ? KITH_OK : KITH_E_NOMEM;
}

kith_status ki_kmeans_make(const float *centroids, size_t lists, size_t dim, const float *centre, uint64_t seed,
                           kith_pool *pool, uint32_t *rank, ki_kmeans *out) {
    struct grouping g = {0};
    kith_status status = KITH_OK;
    if (lists >= KI_SUPERS_LEAST) status = group(centroids, lists, dim, centre, seed, pool, &g);
    if (!status) status = fill(centroids, lists, dim, centre, &g, out);
    for (size_t l = 0; !status && rank && l < lists; l++) rank[l] = g.place ? g.place[l] : (uint32_t)l;
    grouping_free(&g);
    return status;
}
