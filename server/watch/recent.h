/* SPDX-License-Identifier: Apache-2.0
 *
 * What happened in the last seconds: the difference of two looks at counters that only grow. */
#ifndef KITH_SERVER_WATCH_RECENT_H
#define KITH_SERVER_WATCH_RECENT_H

#include "watch/count.h"
#include "watch/watch.h"

enum { KS_RECENT_LOOKS = 6 }; /* one a second: so the last five */

typedef struct ks_recents {
    pthread_mutex_t mutex;
    ks_sums looks[KS_RECENT_LOOKS]; /* a ring */
    uint64_t at_ns[KS_RECENT_LOOKS];
    size_t used, next;
} ks_recents;

void ks_recents_init(ks_recents *recents);
void ks_recents_destroy(ks_recents *recents);
void ks_recents_look(ks_recents *recents, const ks_sums *sums, uint64_t now_ns);
/* Zeros before there are two looks. */
void ks_recents_tell(ks_recents *recents, ks_recent *recent);

#endif
