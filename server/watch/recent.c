/* SPDX-License-Identifier: Apache-2.0
 *
 * The last seconds (recent.h). */
#include "watch/recent.h"

#include <string.h>

void ks_recents_init(ks_recents *recents) {
    memset(recents, 0, sizeof(*recents));
    pthread_mutex_init(&recents->mutex, NULL);
}

void ks_recents_destroy(ks_recents *recents) {
    pthread_mutex_destroy(&recents->mutex);
}

void ks_recents_look(ks_recents *recents, const ks_sums *sums, uint64_t now_ns) {
    pthread_mutex_lock(&recents->mutex);
    recents->looks[recents->next] = *sums;
    recents->at_ns[recents->next] = now_ns;
    recents->next = (recents->next + 1) % KS_RECENT_LOOKS;
    if (recents->used < KS_RECENT_LOOKS) recents->used++;
    pthread_mutex_unlock(&recents->mutex);
}

/* The duration that a share of the calls did not exceed. */
static double quantile_ns(const ks_sums *now, const ks_sums *before, double share) {
    uint64_t all = 0, sum = 0;
    for (unsigned b = 0; b < KS_FINE; b++) all += now->fine[b] - before->fine[b];
    if (!all) return 0;
    for (unsigned b = 0; b < KS_FINE; b++) {
        sum += now->fine[b] - before->fine[b];
        if ((double)sum >= share * (double)all) return ks_fine_ns(b);
    }
    return ks_fine_ns(KS_FINE - 1);
}

void ks_recents_tell(ks_recents *recents, ks_recent *recent) {
    memset(recent, 0, sizeof(*recent));
    pthread_mutex_lock(&recents->mutex);
    const size_t last = (recents->next + KS_RECENT_LOOKS - 1) % KS_RECENT_LOOKS;
    const size_t first = (recents->next + KS_RECENT_LOOKS - recents->used) % KS_RECENT_LOOKS;
    const ks_sums *now = &recents->looks[last], *before = &recents->looks[first];
    const double seconds = (double)(recents->at_ns[last] - recents->at_ns[first]) / 1e9;
    if (recents->used > 1 && seconds > 0) {
        const double batches = (double)(now->batches - before->batches);
        recent->calls_per_s = (double)(now->calls - before->calls) / seconds;
        recent->queries_per_s = (double)(now->queries - before->queries) / seconds;
        recent->errors_per_s = (double)(now->errors - before->errors) / seconds;
        recent->p50_ns = quantile_ns(now, before, 0.5);
        recent->p99_ns = quantile_ns(now, before, 0.99);
        recent->batch_mean = batches > 0 ? (double)(now->queries - before->queries) / batches : 0;
    }
    pthread_mutex_unlock(&recents->mutex);
}
