/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of `kith demo` share: the pictures, what was measured and found, and the page's parts.
 *
 *   demo.c     the command: options, loading, building, the summary
 *   measure.c  searches, times and judges
 *   look.c     chooses what the page shows: example queries, shoppers, a set to wander through
 *   shop.c     the pictures as a collection
 *   visit.c    somebody likes and dislikes things there
 *   page.c     writes the page
 *   plots.c    its plots
 *   assets.c   its style sheet and script
 *
 * One owner: the thread that runs the command. */
#ifndef KITH_CLI_DEMO_H
#define KITH_CLI_DEMO_H

#include "plot/html.h"
#include "demo/idx.h"
#include "kith.h"
#include "progress.h"

enum {
    DEMO_K = 10,
    DEMO_VOTES = 5, /* neighbours that say what a picture shows */
    DEMO_CLASSES = 10,
    DEMO_SIDE = 28,
    DEMO_DIM = DEMO_SIDE * DEMO_SIDE,
    DEMO_BATCH = 2000,
    DEMO_SINGLES = 1000,
    DEMO_SWEEP_MAX = 8,
    DEMO_EXAMPLES = 24,
    DEMO_SHOPPERS = 4,
    DEMO_LIKED = 5,
    DEMO_OFFERED = 10,
    DEMO_NEAR = 8, /* neighbours of a picture in the set to wander through */
    DEMO_SHOP_SIDE = DEMO_SIDE / 2,
    DEMO_SHOP_DIM = DEMO_SHOP_SIDE * DEMO_SHOP_SIDE,
    DEMO_SHELF = 8, /* recommendations */
    DEMO_VISITS = 4,
    DEMO_TOLD = 2
};

#define DEMO_SHOPPER "ann"

struct demo_rate {
    size_t batch;
    double per_second;
};

/* Something that the shopper does, and what she is shown then. */
struct demo_visit {
    kith_event_kind kind; /* of the events; told_count 0: she only looks */
    size_t told_count;
    uint64_t told[DEMO_TOLD]; /* rows of train, which are the ids */
    const char *where;        /* a filter, or NULL */
    double told_seconds, asked_seconds;
    size_t shown_count, fresh;  /* fresh: not shown before her last step */
    uint64_t shown[DEMO_SHELF]; /* rows of train */
    bool is_fresh[DEMO_SHELF];
};

struct demo_shop {
    char *path;
    kith_collection *collection;
    kith_result *result;
    double seconds; /* from the first write to the last index */
    uint64_t bytes;
    size_t visits;
    struct demo_visit visit[DEMO_VISITS];
};

struct demo {
    struct idx train, test, train_labels, test_labels;
    kith_pool *pool;
    kith_index *index;
    kith_scratch *scratch;
    const char *page_path;
    char *index_path;
    struct progress progress;

    kith_cpu cpu;
    kith_build_report build;
    unsigned threads;

    uint64_t *ids;    /* test.count x DEMO_K: rows of train */
    float *distances; /* squared */
    kith_explain explain;
    double batch_seconds;
    uint64_t *latency_ns; /* ascending */
    size_t latencies;
    size_t checked, identical; /* queries compared with the plain scan, and those equal in every bit */
    double plain_seconds;      /* of the checked queries */
    struct demo_rate sweep[DEMO_SWEEP_MAX];
    size_t sweep_count;

    uint8_t *answers;                               /* test.count: the class that the neighbours vote for */
    size_t right_by_votes[DEMO_K];                  /* right answers when 1, 2, ... neighbours vote */
    uint32_t confusion[DEMO_CLASSES][DEMO_CLASSES]; /* [true][answered] */

    struct demo_shop shop;
};

extern const char *const demo_class_names[DEMO_CLASSES];

/* ---- measure.c: 0 or an exit code, after a sentence on stderr ---------------------------------------------------- */

int demo_measure(struct demo *demo);
/* Search for `count` vectors of DEMO_DIM elements. */
int demo_search(struct demo *demo, const void *vectors, kith_dtype dtype, size_t count, size_t k, kith_plan plan,
                kith_explain *explain, uint64_t *ids, float *distances);
double demo_batch_rate(const struct demo *demo);
double demo_plain_rate(const struct demo *demo);
double demo_accuracy(const struct demo *demo); /* 0..1 */
double demo_latency_ms(const struct demo *demo, double percent);

/* ---- look.c ------------------------------------------------------------------------------------------------------ */

struct demo_shopper {
    size_t liked_count, offered_count, profile_count;
    uint64_t liked[DEMO_LIKED], offered[DEMO_OFFERED];
    uint8_t profile[2][DEMO_DIM];  /* mean of the liked pictures, or of each of two groups, rounded for showing */
    size_t profile_of[DEMO_LIKED]; /* group of each liked picture */
};

/* A part of the neighbourhood graph in which one can walk: `shown` pictures, of which the first `open` have all their
 * neighbours among those shown. */
struct demo_walk {
    size_t shown, open, starts; /* the first `starts` are where walks begin */
    uint32_t *rows;             /* shown: rows of train */
    uint32_t *near;             /* open x DEMO_NEAR: positions in rows */
};

struct demo_look {
    size_t example_count, chosen_wrong; /* the last chosen_wrong examples were chosen because they are wrong */
    size_t examples[DEMO_EXAMPLES];     /* rows of test */
    size_t shopper_count;
    struct demo_shopper shoppers[DEMO_SHOPPERS];
    struct demo_walk walk;
};

int demo_look(struct demo *demo, struct demo_look *look);
void demo_look_free(struct demo_look *look);

/* The nth picture of a class, or SIZE_MAX. */
size_t demo_nth_of_class(const struct demo *demo, unsigned class, size_t nth);

/* ---- shop.c, visit.c: likewise 0 or an exit code ----------------------------------------------------------------- */

/* Whether the shop's folder may be replaced: it is not there, or was made by this command. Before any long work. */
int demo_shop_check(const struct demo *demo);
/* Make the collection, and go through the visit. Replaces an earlier one. */
int demo_shop(struct demo *demo);
void demo_shop_close(struct demo_shop *shop); /* frees the path too; fine when called again */
int demo_visit(struct demo *demo);
double demo_price(const struct demo *demo, uint64_t row); /* made up, and always the same */
/* "likes a Sneaker and a Bag", or the filter. */
void demo_visit_words(const struct demo *demo, const struct demo_visit *visit, char *to, size_t room);

/* ---- page.c, plots.c, assets.c: failure shows in html_ok() ------------------------------------------------------- */

void demo_page(struct html *out, const struct demo *demo, const struct demo_look *look);
void demo_plots(struct html *out, const struct demo *demo);
extern const char demo_style[];
extern const char demo_script[];

#endif
