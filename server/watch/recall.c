/* SPDX-License-Identifier: Apache-2.0
 *
 * Live recall (recall.h): choosing and keeping samples, and what their checks say. */
#define _GNU_SOURCE
#include "watch/recall.h"

#include <stdlib.h>
#include <string.h>

const char *const ks_sampled_names[KS_SAMPLED] = {[KS_SAMPLED_CHECKED] = "checked",
                                                  [KS_SAMPLED_STALE] = "stale",
                                                  [KS_SAMPLED_FAILED] = "failed",
                                                  [KS_SAMPLED_DROPPED] = "dropped",
                                                  [KS_SAMPLED_UNFIT] = "unfit"};

static void tally(ks_recaller *recaller, ks_sampled what) {
    atomic_fetch_add_explicit(&recaller->outcomes[what], 1, memory_order_relaxed);
}

/* ---- Choosing ---------------------------------------------------------------------------------------------------- */

/* SplitMix64 [Steele 2014] of a counter: as good as chance, without a state that threads would share. */
static uint64_t roll(const ks_recaller *recaller, ks_shard *shard) {
    const uint64_t step = atomic_fetch_add_explicit(&shard->dice, 1, memory_order_relaxed) + 1;
    uint64_t x = recaller->seed + (uint64_t)(uintptr_t)shard + step * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

int ks_recaller_chooses(const ks_recaller *recaller, ks_shard *shard, size_t queries) {
    return (double)(roll(recaller, shard) >> 11) * 0x1p-53 < recaller->share * (double)queries;
}

static void keep(ks_recaller *recaller, ks_sample *sample) {
    int kept = 0;
    if (sample && pthread_mutex_trylock(&recaller->mutex) == 0) {
        kept = recaller->queued < KS_RECALL_QUEUE;
        if (kept) recaller->queue[(recaller->first + recaller->queued++) % KS_RECALL_QUEUE] = sample;
        if (kept) pthread_cond_signal(&recaller->changed);
        pthread_mutex_unlock(&recaller->mutex);
    }
    if (kept) return;
    free(sample);
    tally(recaller, KS_SAMPLED_DROPPED);
}

void ks_recaller_batch(ks_recaller *recaller, ks_counts *counts, ks_search *const *searches, const ks_found *found,
                       size_t count) {
    if (!(recaller->share > 0) || !count) return;
    ks_shard *shard = ks_counts_shard(counts, searches[0]->call->loop);
    for (size_t i = 0; shard && i < count; i++) {
        if (found[i].status != KITH_OK || !ks_recaller_chooses(recaller, shard, found[i].count)) continue;
        if (!ks_sample_fits(searches[i], &found[i])) {
            tally(recaller, KS_SAMPLED_UNFIT);
            continue;
        }
        keep(recaller, ks_sample_copy(searches[i], &found[i], (size_t)(roll(recaller, shard) % found[i].count)));
    }
}

/* ---- What is known ----------------------------------------------------------------------------------------------- */

static ks_recall_shop *shop_of(ks_recaller *recaller, unsigned number) {
    for (size_t i = 0; i < KS_RECALL_SHOPS; i++)
        if (recaller->shops[i] && recaller->shops[i]->shop == number) return recaller->shops[i];
    return NULL;
}

/* Its place, or a free one, or that of the one that was checked longest ago. NULL without memory. */
static ks_recall_shop *make_shop(ks_recaller *recaller, unsigned number) {
    ks_recall_shop *shop = shop_of(recaller, number), *oldest = NULL;
    for (size_t i = 0; !shop && i < KS_RECALL_SHOPS; i++) {
        if (!recaller->shops[i]) return recaller->shops[i] = calloc(1, sizeof(*shop));
        if (!oldest || recaller->shops[i]->turn < oldest->turn) oldest = recaller->shops[i];
    }
    if (!shop && oldest) {
        memset(oldest, 0, sizeof(*oldest));
        shop = oldest;
    }
    return shop;
}

static void learn(ks_recaller *recaller, unsigned number, size_t right, size_t sought) {
    pthread_mutex_lock(&recaller->mutex);
    ks_recall_shop *shop = make_shop(recaller, number);
    if (shop) {
        shop->shop = number;
        shop->turn = ++recaller->turns;
        ks_window_add(&shop->window, right, sought);
    }
    pthread_mutex_unlock(&recaller->mutex);
}

int ks_recaller_tell(ks_recaller *recaller, unsigned number, ks_recall *recall) {
    int known = 0;
    pthread_mutex_lock(&recaller->mutex);
    const ks_recall_shop *shop = shop_of(recaller, number);
    if (shop) known = ks_window_interval(&shop->window, &recall->mean, &recall->low, &recall->high);
    if (known) recall->checked = shop->window.checked;
    pthread_mutex_unlock(&recaller->mutex);
    return known;
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

static int is_stopping(void *context) {
    const ks_recaller *recaller = context;
    return atomic_load(&recaller->stopping);
}

void ks_recaller_check(ks_recaller *recaller, const ks_sample *sample) {
    const ks_again again = {recaller->truth, recaller->now, is_stopping, recaller};
    kith_error error = {0};
    ks_shop *shop = NULL;
    size_t right = 0, sought = 0;
    ks_verdict verdict = KS_STALE;
    if (ks_shelf_borrow(recaller->shelf, sample->name, &shop, &error) == KITH_OK) {
        if (shop->number == sample->shop)
            verdict = ks_sample_check(sample, shop->collection, &again, &right, &sought, &error);
        ks_shelf_return(recaller->shelf, shop);
    }
    tally(recaller, verdict == KS_CHECKED  ? KS_SAMPLED_CHECKED
                    : verdict == KS_FAILED ? KS_SAMPLED_FAILED
                                           : KS_SAMPLED_STALE);
    if (verdict == KS_CHECKED) learn(recaller, sample->shop, right, sought);
    if (verdict != KS_FAILED || is_stopping(recaller) || !ks_line_wanted(recaller->log, KS_LOG_INFO)) return;
    ks_line line;
    ks_line_begin(&line, recaller->log, KS_LOG_INFO, "recall", "a search could not be repeated exactly");
    ks_line_text(&line, "collection", sample->name);
    ks_line_text(&line, "why", error.text);
    ks_line_end(&line);
}
