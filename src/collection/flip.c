/* SPDX-License-Identifier: Apache-2.0
 *
 * A flip: another generation becomes current.
 *
 * What is required of it is found out first, without any lock. Then the table with the other number is one transaction
 * and one pointer: searches that have taken a state go on with that one, whose table says which generation was current;
 * writers wait for the transaction. */
#include "base/clock.h"
#include "base/grow.h"
#include "base/status.h"
#include "collection/generation.h"
#include "state/generations.h"
#include "write/generation.h"

#include <stdlib.h>

struct flip {
    kith_collection *collection;
    uint32_t number; /* 0: the previous one */
    kith_flip_options options;
    kith_generation_check_options check;
    kith_flip_report report;
    kith_error *error;
};

static kith_status check_options(struct flip *flip) {
    const kith_flip_options *options = &flip->options;
    const double all[] = {options->min_share, options->min_recall, options->min_overlap};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (!(all[i] >= 0 && all[i] <= 1))
            return ki_fail(flip->error, KITH_E_ARG, "flip: %g is required, 0 to 1 are possible", all[i]);
    const kith_status status = ki_generation_check_read(options->check, &flip->check, flip->error);
    if (status == KITH_OK && !flip->check.sample && (options->min_recall > 0 || options->min_overlap > 0))
        return ki_fail(flip->error, KITH_E_ARG, "flip: recall and overlap are known by a sample, and that is 0");
    return status;
}

/* Which one is meant; *done: it is current already. */
static kith_status find(struct flip *flip, int *done) {
    const ki_generations *generations = ki_collection_generations(flip->collection);
    const ki_generation *to = NULL;
    if (!flip->number && !generations->previous)
        return ki_fail(flip->error, KITH_E_NOTFOUND, "flip: no generation was current before %u, or it was dropped",
                       (unsigned)generations->current);
    const kith_status status =
        ki_generations_get(generations, flip->number ? flip->number : generations->previous, &to, flip->error);
    if (status != KITH_OK) return status;
    flip->number = to->number;
    flip->report.from = generations->current;
    flip->report.to = to->number;
    *done = to->number == generations->current;
    return KITH_OK;
}

/* ---- What is required -------------------------------------------------------------------------------------------- */

static kith_status refuse(const struct flip *flip, const char *what, double is, double least) {
    return ki_fail(flip->error, KITH_E_DATA,
                   "generation %u stays as it is, and %u current: its %s is %.4g, and at least %.4g is required",
                   (unsigned)flip->report.to, (unsigned)flip->report.from, what, is, least);
}

static kith_status require(struct flip *flip) {
    const kith_flip_options *options = &flip->options;
    const int measured = options->min_recall > 0 || options->min_overlap > 0;
    kith_generation_report found = KITH_GENERATION_REPORT_INIT;
    if (!measured && !(options->min_share > 0)) return KITH_OK;
    if (!measured) flip->check.sample = 0;
    const kith_status status = ki_generation_check(flip->collection, flip->number, &flip->check, &found, flip->error);
    if (status != KITH_OK) return status;
    flip->report.items = found.items;
    flip->report.with_vectors = found.with_vectors;
    if (measured) {
        flip->report.recall = found.recall;
        flip->report.overlap = found.overlap;
    }
    const double share = found.items ? (double)found.with_vectors / (double)found.items : 1;
    if (share < options->min_share)
        return refuse(flip, "share of the items that have its vectors", share, options->min_share);
    if (found.recall < options->min_recall)
        return refuse(flip, "recall of approximate searches", found.recall, options->min_recall);
    if (found.overlap < options->min_overlap)
        return refuse(flip, "overlap with the current answers", found.overlap, options->min_overlap);
    return KITH_OK;
}

/* ---- Doing it ---------------------------------------------------------------------------------------------------- */

/* Under `writing`. */
static kith_status change(struct flip *flip) {
    ki_generations *next = NULL;
    const ki_generation *to = NULL;
    kith_status status = ki_generation_change(flip->collection, &next, flip->error);
    if (status != KITH_OK) return status;
    flip->report.from = next->current;
    status = ki_generations_get(next, flip->number, &to, flip->error);
    if (status != KITH_OK || to->number == next->current) { /* it went meanwhile, or came */
        free(next);
        return status;
    }
    ki_generations_flip(next, to);
    return ki_generation_publish(flip->collection, next, flip->error);
}

kith_status kith_collection_flip(kith_collection *collection, uint32_t number, const kith_flip_options *options,
                                 kith_flip_report *report, kith_error *error) {
    struct flip flip = {.collection = collection,
                        .number = number,
                        .options = KITH_FLIP_OPTIONS_INIT,
                        .check = KITH_GENERATION_CHECK_OPTIONS_INIT,
                        .report = KITH_FLIP_REPORT_INIT,
                        .error = error};
    int done = 0;
    if (!collection) return ki_fail(error, KITH_E_ARG, "kith_collection_flip: collection is NULL");
    kith_status status = ki_grown_check(KI_GROWN_FLIP_REPORT, report, error);
    if (status == KITH_OK) status = ki_grown_read(KI_GROWN_FLIP_OPTIONS, options, &flip.options, error);
    if (status == KITH_OK && !options && !number) flip.options.min_share = 0;
    if (status == KITH_OK) status = check_options(&flip);
    if (status == KITH_OK) status = ki_collection_takes_writes(collection, error);
    if (status == KITH_OK) status = find(&flip, &done);
    if (status == KITH_OK && !done) status = require(&flip);
    if (status == KITH_OK && !done) {
        pthread_mutex_lock(&collection->writing);
        const uint64_t start = ki_now_ns();
        status = change(&flip);
        flip.report.pause_ns = ki_now_ns() - start;
        pthread_mutex_unlock(&collection->writing);
    }
    if (status == KITH_OK) ki_grown_write(KI_GROWN_FLIP_REPORT, &flip.report, report);
    return status;
}
