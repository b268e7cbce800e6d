/* SPDX-License-Identifier: Apache-2.0
 *
 * Linking the rows of the head that grows, where searches ask for it (head/head.h H5): on a thread of low priority that
 * is made for a run of it, holds the rows of one state, and takes no lock of the collection. So neither writers nor seals
 * wait for it, and it goes on beside any other job. A head that is frozen meanwhile is sealed soon: linking it is given
 * up.
 *
 * That memory is refused is no trouble that anybody is told: the rows are scanned, and it is tried again once searches
 * have asked for it as often as before. */
#define _GNU_SOURCE
#include "upkeep/maintain.h"

#include <sys/resource.h>

enum { NICE = 10 }; /* as builds (job_build.c) */

static void *run(void *context) {
    ki_linker *linker = context;
    (void)setpriority(PRIO_PROCESS, 0, NICE); /* on Linux the thread's; or it is done as it is */
    (void)ki_head_link(linker->head, linker->spec, linker->count, linker->live, &linker->stop, NULL);
    ki_bits_release(linker->live);
    ki_head_release(linker->head);
    atomic_store(&linker->done, 1);
    return NULL;
}

static void start(ki_linker *linker, const ki_snapshot_head *in, size_t spec) {
    atomic_store(&linker->stop, 0);
    atomic_store(&linker->done, 0);
    linker->head = ki_head_hold(in->head);
    linker->live = ki_bits_hold(in->live);
    linker->count = in->count;
    linker->spec = spec;
    linker->has_thread = pthread_create(&linker->thread, NULL, run, linker) == 0;
    if (linker->has_thread) return;
    ki_bits_release(linker->live);
    ki_head_release(linker->head);
}

static void join(ki_linker *linker) {
    if (linker->has_thread) pthread_join(linker->thread, NULL);
    linker->has_thread = 0;
}

int ki_link_look(ki_maintainer *maintainer, const ki_snapshot *snapshot) {
    ki_linker *linker = &maintainer->linker;
    const ki_snapshot_head *last = &snapshot->head[snapshot->head_count - 1];
    int later = 0;
    if (linker->has_thread) {
        if (linker->head != last->head) atomic_store(&linker->stop, 1);
        if (!atomic_load(&linker->done)) return 1;
        join(linker);
    }
    for (size_t s = 0; s < snapshot->specs && !linker->has_thread; s++) {
        const ki_head_want want = ki_head_wants_links(last->head, s, last->count);
        later |= want != KI_HEAD_LINK_NOT;
        if (want == KI_HEAD_LINK_NOW) start(linker, last, s);
    }
    return later;
}

void ki_link_stop(ki_maintainer *maintainer) {
    atomic_store(&maintainer->linker.stop, 1);
    join(&maintainer->linker);
}
