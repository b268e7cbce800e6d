/* SPDX-License-Identifier: Apache-2.0
 *
 * A search that was copied is asked again, and the answers are compared (sample.h). */
#include "watch/sample.h"

#include <stdlib.h>
#include <string.h>

/* One that waits behind everything else may take its time; but what it searches is kept alive meanwhile. */
static const uint64_t LIMIT_NS = UINT64_C(60000000000);

int ks_sample_judge(const ks_seen *found, size_t found_count, const ks_seen *truth, size_t truth_count, int complete,
                    size_t k, size_t *right, size_t *sought) {
    size_t kept = 0, left = 0, good = 0;
    float last = 0;
    for (size_t i = 0; i < found_count; i++) kept += found[i].unchanged != 0;
    for (size_t i = 0; i < truth_count; i++) left += truth[i].unchanged != 0;
    /* An answer with fewer than k had all that matched, or should have had. */
    size_t wanted = kept;
    if (found_count < k) wanted = left < k ? left : k;
    if (wanted < kept || left < wanted || (found_count < k && !complete && left < k)) return 0;
    for (size_t i = 0, place = 0; i < truth_count && place < wanted; i++) {
        place += truth[i].unchanged != 0;
        if (truth[i].unchanged) last = truth[i].distance;
    }
    for (size_t i = 0; i < found_count; i++) good += found[i].unchanged && found[i].distance <= last;
    *right = good < wanted ? good : wanted;
    *sought = wanted;
    return 1;
}

/* ---- Asking again ------------------------------------------------------------------------------------------------ */

static kith_status ask_again(const ks_sample *sample, kith_collection *collection, const ks_again *again, size_t k,
                             unsigned with, kith_ask_report *report, kith_error *error) {
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = sample->query;
    queries.dtype = sample->dtype;
    queries.count = 1;
    queries.dim = sample->dim;
    const kith_leg leg = {.vector = sample->vector, .queries = &queries};
    kith_ask ask = KITH_ASK_INIT;
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.k = k;
    ask.filter = sample->filter;
    ask.segment = sample->segment;
    /* What was answered exactly is held against the reference, which looks at no codes and keeps no answers. */
    ask.plan = sample->exact ? KITH_PLAN_PLAIN : KITH_PLAN_AUTO;
    ask.with = with;
    ask.timeout_ns = LIMIT_NS;
    ask.cancelled = again->cancelled;
    ask.cancelled_context = again->cancelled_context;
    ask.report = report;
    ask.generation = sample->generation;
    return kith_collection_search(collection, &ask, again->truth, error);
}

/* Which of the items that were found are still there as they were. Those that were read come in the order of those that
 * were asked for. */
static void mark_found(const ks_sample *sample, const kith_hits *now, ks_seen *seen) {
    size_t at = 0;
    for (size_t i = 0; i < sample->count; i++) {
        int same = at < now->count;
        if (same && !now->id_ends) same = now->ids[at] == sample->numbers[i];
        if (same && now->id_ends) {
            const size_t mine = i ? (size_t)sample->ids.id_ends[i - 1] : 0;
            const size_t its = at ? (size_t)now->id_ends[at - 1] : 0;
            const size_t bytes = (size_t)sample->ids.id_ends[i] - mine;
            same = (size_t)now->id_ends[at] - its == bytes &&
                   memcmp(sample->ids.id_bytes + mine, now->id_bytes + its, bytes) == 0;
        }
        seen[i] = (ks_seen){sample->distances[i], same && now->versions[at] <= sample->version};
        at += (size_t)same;
    }
}

static ks_verdict verdict_of(kith_status status) {
    /* The generation was dropped, or what was asked for is no longer there. */
    return status == KITH_OK ? KS_CHECKED : status == KITH_E_NOTFOUND ? KS_STALE : KS_FAILED;
}

/* With the versions of all that is compared. */
static ks_verdict check_closely(const ks_sample *sample, kith_collection *collection, const ks_again *again,
                                size_t *right, size_t *sought, kith_error *error) {
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits truth = KITH_HITS_INIT, now = KITH_HITS_INIT;
    size_t k = 2 * sample->k + 16;
    if (k > KITH_K_MAX) k = KITH_K_MAX;
    kith_status status = ask_again(sample, collection, again, k, KITH_WITH_VERSION, &report, error);
    if (status == KITH_OK) status = kith_collection_get(collection, &sample->ids, KITH_WITH_VERSION, again->now, error);
    if (status != KITH_OK) return verdict_of(status);
    kith_result_hits(again->truth, &truth);
    kith_result_hits(again->now, &now);
    ks_seen *seen = calloc(sample->count + truth.count + 1, sizeof(*seen));
    if (!seen) return KS_STALE;
    ks_seen *true_ones = seen + sample->count;
    mark_found(sample, &now, seen);
    for (size_t i = 0; i < truth.count; i++)
        true_ones[i] = (ks_seen){truth.distances[i], truth.versions[i] <= sample->version};
    const int told =
        ks_sample_judge(seen, sample->count, true_ones, truth.count, truth.count < k, sample->k, right, sought);
    free(seen);
    return told ? KS_CHECKED : KS_STALE;
}

ks_verdict ks_sample_check(const ks_sample *sample, kith_collection *collection, const ks_again *again, size_t *right,
                           size_t *sought, kith_error *error) {
    kith_ask_report report = KITH_ASK_REPORT_INIT;
    kith_hits truth = KITH_HITS_INIT;
    const kith_status status = ask_again(sample, collection, again, sample->k, 0, &report, error);
    if (status != KITH_OK) return verdict_of(status);
    kith_result_hits(again->truth, &truth);
    size_t good = 0;
    for (size_t i = 0; truth.count && i < sample->count; i++)
        good += sample->distances[i] <= truth.distances[truth.count - 1];
    /* Items that expire leave without a version of their own, so a miss is looked at closely in any case. */
    if (report.version != sample->version || good != truth.count || sample->count != truth.count)
        return check_closely(sample, collection, again, right, sought, error);
    *right = *sought = truth.count;
    return KS_CHECKED;
}
