/* SPDX-License-Identifier: Apache-2.0
 *
 * A visit to the shop: somebody likes things and dislikes one, and looks at what is recommended after each step.
 *
 * V1. Nothing is picked by hand but the kinds and their numbers: everybody who runs the demo sees the same visit.
 * V2. An event's time is that of the call, which returns when it is on the disk; a look's is that of one search. The
 *     first search of all, which grows memory, is not timed. */
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "demo/demo.h"
#include "stats.h"

#define INTERESTS 4
#define THRESHOLD 0.8 /* pictures of things resemble each other more than things do; by eye */

static int told_why(struct demo *demo, kith_status status, const kith_error *error) {
    if (status == KITH_OK) return EXIT_OK;
    progress_end(&demo->progress);
    return fail_status(status, error);
}

static int tell(struct demo *demo, struct demo_visit *visit) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    kith_profile_event events[DEMO_TOLD] = {{0}};
    kith_error error = {0};
    options.interests = INTERESTS;
    options.threshold = THRESHOLD;
    for (size_t i = 0; i < visit->told_count; i++) events[i].kind = visit->kind;
    const kith_ids items = {.count = visit->told_count, .ids = visit->told};
    const uint64_t start = now_ns();
    const kith_status status =
        kith_collection_profile_event(demo->shop.collection, DEMO_SHOPPER, &items, events, &options, &error);
    visit->told_seconds = (double)(now_ns() - start) * 1e-9;
    return told_why(demo, status, &error);
}

static int look(struct demo *demo, struct demo_visit *visit) {
    kith_ask ask = KITH_ASK_INIT;
    kith_hits hits = KITH_HITS_INIT;
    kith_error error = {0};
    ask.profile = DEMO_SHOPPER;
    ask.k = DEMO_SHELF;
    ask.leave_out_seen = 1;
    ask.filter = visit->where;
    ask.cancelled = interrupt_asked;
    const uint64_t start = now_ns();
    kith_status status = kith_collection_search(demo->shop.collection, &ask, demo->shop.result, &error);
    visit->asked_seconds = (double)(now_ns() - start) * 1e-9;
    if (status == KITH_OK) status = kith_result_hits(demo->shop.result, &hits);
    visit->shown_count = 0;
    for (size_t i = 0; i < hits.count && i < DEMO_SHELF; i++)
        if (hits.ids[i] < demo->train.count) visit->shown[visit->shown_count++] = hits.ids[i];
    return told_why(demo, status, &error);
}

static void mark_fresh(const struct demo_visit *before, struct demo_visit *visit) {
    for (size_t i = 0; i < visit->shown_count; i++) {
        bool known = false;
        for (size_t b = 0; before && b < before->shown_count; b++) known |= before->shown[b] == visit->shown[i];
        visit->is_fresh[i] = !known;
        visit->fresh += !known;
    }
}

static struct demo_visit *step(struct demo *demo, kith_event_kind kind) {
    struct demo_visit *visit = &demo->shop.visit[demo->shop.visits++];
    visit->kind = kind;
    return visit;
}

/* The nth of a class; where there is none, as in a small set, the nth of all. */
static void pick(const struct demo *demo, struct demo_visit *visit, unsigned class, size_t nth) {
    const size_t row = demo_nth_of_class(demo, class, nth);
    visit->told[visit->told_count++] = row == SIZE_MAX ? nth : row;
}

static int take(struct demo *demo, struct demo_visit *visit) {
    const size_t number = (size_t)(visit - demo->shop.visit);
    int failed = visit->told_count ? tell(demo, visit) : EXIT_OK;
    if (!failed && number == 0) failed = look(demo, visit); /* V2 */
    if (!failed) failed = look(demo, visit);
    if (!failed) mark_fresh(number ? visit - 1 : NULL, visit);
    return failed;
}

int demo_visit(struct demo *demo) {
    enum { SNEAKER = 7, BAG = 8 };
    struct demo_visit *visit = step(demo, KITH_EVENT_LIKE);
    pick(demo, visit, SNEAKER, 2);
    int failed = take(demo, visit);
    if (failed) return failed;
    visit = step(demo, KITH_EVENT_LIKE);
    pick(demo, visit, SNEAKER, 11);
    pick(demo, visit, BAG, 6);
    failed = take(demo, visit);
    if (failed) return failed;
    const struct demo_visit *before = visit;
    visit = step(demo, KITH_EVENT_DISLIKE);
    if (before->shown_count) visit->told[visit->told_count++] = before->shown[0];
    failed = take(demo, visit);
    if (failed) return failed;
    visit = step(demo, KITH_EVENT_SEEN);
    visit->where = "kind = \"Bag\" and price < 50";
    return take(demo, visit);
}

void demo_visit_words(const struct demo *demo, const struct demo_visit *visit, char *to, size_t room) {
    size_t used = 0;
    if (visit->where) {
        snprintf(to, room, "looks for %s", visit->where);
        return;
    }
    snprintf(to, room, "looks again");
    for (size_t i = 0; i < visit->told_count && used < room; i++) {
        const char *verb = visit->kind == KITH_EVENT_DISLIKE ? "dislikes" : "likes";
        used += (size_t)snprintf(to + used, room - used, "%s a %s", i ? " and" : verb,
                                 demo_class_names[demo->train_labels.data[visit->told[i]]]);
    }
}
