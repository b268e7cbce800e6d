/* SPDX-License-Identifier: Apache-2.0
 *
 * Chooses what the page shows. Nothing is picked by hand: examples are the first pictures of each kind and then the
 * first mistakes, shoppers begin at fixed pictures, so that everybody who runs the demo sees the same page.
 *
 * A shopper's profile is the mean of the liked pictures. Somebody who likes boots and bags has a mean that is neither,
 * so likes are split into two groups where that explains them much better, and each group has a mean of its own. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "demo/demo.h"

#define EXAMPLES_OF_A_CLASS    2
#define WALK_SHOWN_MAX         3200u
#define WALK_STARTS_OF_A_CLASS 2
#define WALK_K                 (DEMO_NEAR + 1) /* a picture's nearest is itself */
#define TASTE_K                160u
#define SPLIT_BELOW            0.45 /* two groups when they leave less than this share of the squared error of one; by eye */

static const uint8_t *train_picture(const struct demo *demo, uint64_t row) {
    return demo->train.data + row * DEMO_DIM;
}

/* ---- Examples ---------------------------------------------------------------------------------------------------- */

static bool is_example(const struct demo_look *look, size_t row) {
    for (size_t i = 0; i < look->example_count; i++)
        if (look->examples[i] == row) return true;
    return false;
}

static void choose_examples(const struct demo *demo, struct demo_look *look) {
    for (unsigned class = 0; class < DEMO_CLASSES; class ++) {
        size_t taken = 0;
        for (size_t row = 0; row < demo->test.count && taken < EXAMPLES_OF_A_CLASS; row++) {
            if (demo->test_labels.data[row] != class) continue;
            look->examples[look->example_count++] = row;
            taken++;
        }
    }
    bool seen[DEMO_CLASSES] = {false}; /* one mistake of a kind */
    for (size_t row = 0; row < demo->test.count && look->example_count < DEMO_EXAMPLES; row++) {
        uint8_t truth = demo->test_labels.data[row];
        if (demo->answers[row] == truth || seen[truth] || is_example(look, row)) continue;
        seen[truth] = true;
        look->examples[look->example_count++] = row;
        look->chosen_wrong++;
    }
}

/* ---- Shoppers ---------------------------------------------------------------------------------------------------- */

size_t demo_nth_of_class(const struct demo *demo, unsigned class, size_t nth) {
    for (size_t row = 0; row < demo->train.count; row++)
        if (demo->train_labels.data[row] == class && nth-- == 0) return row;
    return SIZE_MAX;
}

/* Like `count` pictures around the nth of a class: alike, but not the very nearest. */
static int like(struct demo *demo, struct demo_shopper *shopper, unsigned class, size_t nth, size_t count) {
    static const size_t ranks[DEMO_LIKED] = {0, 24, 61, 97, 149};
    uint64_t ids[TASTE_K];
    float distances[TASTE_K];
    size_t start = demo_nth_of_class(demo, class, nth);
    if (start == SIZE_MAX) return EXIT_OK;
    int failed =
        demo_search(demo, train_picture(demo, start), KITH_U8, 1, TASTE_K, KITH_PLAN_AUTO, NULL, ids, distances);
    for (size_t i = 0; !failed && i < count && shopper->liked_count < DEMO_LIKED; i++)
        if (ids[ranks[i]] < demo->train.count) shopper->liked[shopper->liked_count++] = ids[ranks[i]];
    return failed;
}

/* Mean of the liked pictures whose bit is set; returns their squared distances from it, summed. */
static double mean_of(const struct demo *demo, const struct demo_shopper *shopper, unsigned members, float *mean) {
    double error = 0, count = 0;
    for (size_t i = 0; i < shopper->liked_count; i++) count += members >> i & 1;
    for (size_t d = 0; d < DEMO_DIM; d++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < shopper->liked_count; i++) {
            if (!(members >> i & 1)) continue;
            double value = train_picture(demo, shopper->liked[i])[d];
            sum += value;
            squares += value * value;
        }
        mean[d] = count > 0 ? (float)(sum / count) : 0;
        if (count > 0) error += squares - sum * sum / count;
    }
    return error;
}

/* Fill means with one profile or two and say who belongs where. With five likes every split can be tried. */
static void make_profiles(const struct demo *demo, struct demo_shopper *shopper, float *means) {
    unsigned all = (1u << shopper->liked_count) - 1, best_group = all;
    double one = mean_of(demo, shopper, all, means), best = INFINITY;
    for (unsigned group = 1; group < all; group += 2) { /* the first liked one is always in the first group */
        double two = mean_of(demo, shopper, group, means) + mean_of(demo, shopper, all & ~group, means);
        bool lonely = (group & (group - 1)) == 0 || ((all & ~group) & ((all & ~group) - 1)) == 0;
        if (!lonely && two < best) {
            best = two;
            best_group = group;
        }
    }
    if (best > one * SPLIT_BELOW) best_group = all;
    shopper->profile_count = best_group == all ? 1 : 2;
    mean_of(demo, shopper, best_group, means);
    if (shopper->profile_count == 2) mean_of(demo, shopper, all & ~best_group, means + DEMO_DIM);
    for (size_t i = 0; i < shopper->liked_count; i++) shopper->profile_of[i] = best_group >> i & 1 ? 0 : 1;
    for (size_t p = 0; p < shopper->profile_count; p++)
        for (size_t d = 0; d < DEMO_DIM; d++) shopper->profile[p][d] = (uint8_t)lrintf(means[p * DEMO_DIM + d]);
}

static bool holds(const uint64_t *ids, size_t count, uint64_t id) {
    for (size_t i = 0; i < count; i++)
        if (ids[i] == id) return true;
    return false;
}

/* The nearest of each profile that are not liked yet, the profiles taking turns. Asking for `liked` more than are
 * offered makes sure that enough are left. */
static int offer(struct demo *demo, struct demo_shopper *shopper) {
    enum { ASKED = DEMO_OFFERED + DEMO_LIKED + DEMO_OFFERED / 2 };
    float means[2 * DEMO_DIM], distances[2 * ASKED];
    uint64_t ids[2 * ASKED];
    if (shopper->liked_count == 0) return EXIT_OK;
    make_profiles(demo, shopper, means);
    int failed =
        demo_search(demo, means, KITH_F32, shopper->profile_count, ASKED, KITH_PLAN_AUTO, NULL, ids, distances);
    if (failed) return failed;
    size_t next[2] = {0, 0};
    for (size_t turn = 0; shopper->offered_count < DEMO_OFFERED && turn < 2 * ASKED; turn++) {
        size_t p = turn % shopper->profile_count;
        while (next[p] < ASKED) {
            uint64_t id = ids[p * ASKED + next[p]++];
            if (id >= demo->train.count || holds(shopper->liked, shopper->liked_count, id) ||
                holds(shopper->offered, shopper->offered_count, id))
                continue;
            shopper->offered[shopper->offered_count++] = id;
            break;
        }
    }
    return EXIT_OK;
}

static int choose_shoppers(struct demo *demo, struct demo_look *look) {
    static const struct {
        unsigned class, nth, count;
    } tastes[DEMO_SHOPPERS][2] = {
        {{9, 3, 3}, {8, 6, 2}}, /* ankle boots and bags */
        {{7, 2, 5}, {0, 0, 0}}, /* sneakers */
        {{3, 9, 3}, {5, 4, 2}}, /* dresses and sandals */
        {{4, 5, 5}, {0, 0, 0}}, /* coats */
    };
    for (size_t s = 0; s < DEMO_SHOPPERS; s++) {
        struct demo_shopper *shopper = &look->shoppers[s];
        for (size_t t = 0; t < 2; t++) {
            if (tastes[s][t].count == 0) continue;
            int failed = like(demo, shopper, tastes[s][t].class, tastes[s][t].nth, tastes[s][t].count);
            if (failed) return failed;
        }
        int failed = offer(demo, shopper);
        if (failed) return failed;
    }
    look->shopper_count = DEMO_SHOPPERS;
    return EXIT_OK;
}

/* ---- A set to wander through ------------------------------------------------------------------------------------- */

/* A walk under construction. at[row] is the row's position in `rows`, or -1. */
struct growth {
    uint32_t *rows;
    int32_t *at;
    size_t shown;
};

static void show(struct growth *growth, uint64_t row) {
    if (growth->at[row] >= 0 || growth->shown == WALK_SHOWN_MAX) return;
    growth->at[row] = (int32_t)growth->shown;
    growth->rows[growth->shown++] = (uint32_t)row;
}

/* Neighbours of rows first..shown of the walk, WALK_K each. */
static int search_rows(struct demo *demo, const struct growth *growth, size_t first, size_t count, uint64_t *ids) {
    uint8_t *vectors = malloc(count * DEMO_DIM);
    float *distances = malloc(count * WALK_K * sizeof(*distances));
    int failed = vectors && distances ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    for (size_t i = 0; !failed && i < count; i++)
        memcpy(vectors + i * DEMO_DIM, train_picture(demo, growth->rows[first + i]), DEMO_DIM);
    if (!failed)
        failed =
            demo_search(demo, vectors, KITH_U8, count, WALK_K, KITH_PLAN_AUTO, NULL, ids + first * WALK_K, distances);
    free(vectors);
    free(distances);
    return failed;
}

/* The DEMO_NEAR neighbours of a row, itself left out. False when one of them is not shown. */
static bool near_of(const struct growth *growth, uint32_t row, const uint64_t *ids, uint32_t *near) {
    size_t found = 0;
    for (size_t i = 0; i < WALK_K && found < DEMO_NEAR; i++) {
        if (ids[i] == row) continue;
        if (ids[i] == KITH_ID_NONE || growth->at[ids[i]] < 0) return false;
        near[found++] = (uint32_t)growth->at[ids[i]];
    }
    return found == DEMO_NEAR;
}

/* Breadth first from a few pictures of each kind, a ring at a time, until the set is full. */
static int grow(struct demo *demo, struct growth *growth, uint64_t *ids, struct demo_walk *walk) {
    for (size_t nth = 0; nth < WALK_STARTS_OF_A_CLASS; nth++)
        for (unsigned class = 0; class < DEMO_CLASSES; class ++) {
            size_t row = demo_nth_of_class(demo, class, nth);
            if (row != SIZE_MAX) show(growth, row);
        }
    walk->starts = growth->shown;
    for (size_t searched = 0; searched < growth->shown;) {
        size_t ring_end = growth->shown;
        int failed = search_rows(demo, growth, searched, ring_end - searched, ids);
        if (failed) return failed;
        for (size_t i = searched * WALK_K; i < ring_end * WALK_K; i++)
            if (ids[i] < demo->train.count) show(growth, ids[i]);
        searched = ring_end;
    }
    return EXIT_OK;
}

/* Rows whose neighbours are all shown come first, in the order in which they were found, so the starts stay in
 * front. */
static void number_walk(const struct growth *growth, const uint64_t *ids, uint32_t *order, uint32_t *place,
                        struct demo_walk *walk) {
    size_t open = 0, shut = 0;
    uint32_t near[DEMO_NEAR];
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < growth->shown; i++) {
            bool whole = near_of(growth, growth->rows[i], ids + i * WALK_K, near);
            if (whole != (pass == 0)) continue;
            size_t to = whole ? open++ : open + shut++;
            order[to] = growth->rows[i];
            place[i] = (uint32_t)to;
        }
    for (size_t i = 0; i < growth->shown; i++)
        if (place[i] < open && near_of(growth, growth->rows[i], ids + i * WALK_K, near))
            for (size_t n = 0; n < DEMO_NEAR; n++) walk->near[place[i] * DEMO_NEAR + n] = place[near[n]];
    walk->open = open;
    walk->shown = growth->shown;
    if (walk->starts > open) walk->starts = open;
}

static int choose_walk(struct demo *demo, struct demo_walk *walk) {
    struct growth growth = {.rows = malloc(WALK_SHOWN_MAX * sizeof(uint32_t)),
                            .at = malloc(demo->train.count * sizeof(int32_t))};
    uint64_t *ids = malloc((size_t)WALK_SHOWN_MAX * WALK_K * sizeof(*ids));
    uint32_t *place = malloc(WALK_SHOWN_MAX * sizeof(*place));
    walk->rows = malloc(WALK_SHOWN_MAX * sizeof(*walk->rows));
    walk->near = malloc((size_t)WALK_SHOWN_MAX * DEMO_NEAR * sizeof(*walk->near));
    int failed = EXIT_OK;
    if (growth.rows && growth.at && ids && place && walk->rows && walk->near) {
        for (size_t i = 0; i < demo->train.count; i++) growth.at[i] = -1;
        failed = grow(demo, &growth, ids, walk);
        if (!failed) number_walk(&growth, ids, walk->rows, place, walk);
    } else {
        failed = fail(EXIT_OTHER, "out of memory");
    }
    free(place);
    free(ids);
    free(growth.at);
    free(growth.rows);
    return failed;
}

int demo_look(struct demo *demo, struct demo_look *look) {
    *look = (struct demo_look){0};
    choose_examples(demo, look);
    int failed = choose_shoppers(demo, look);
    if (!failed) failed = choose_walk(demo, &look->walk);
    if (failed) demo_look_free(look);
    return failed;
}

void demo_look_free(struct demo_look *look) {
    free(look->walk.rows);
    free(look->walk.near);
    *look = (struct demo_look){0};
}
