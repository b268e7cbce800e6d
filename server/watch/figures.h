/* SPDX-License-Identifier: Apache-2.0
 *
 * How things are: of the collections and of the process. Looking costs microseconds a collection, and with many
 * connections the process's open files alone are milliseconds: so a thread looks once a second, and who writes metrics
 * takes what was seen last. */
#ifndef KITH_SERVER_WATCH_FIGURES_H
#define KITH_SERVER_WATCH_FIGURES_H

#include <pthread.h>
#include <stdatomic.h>

#include "watch/count.h"

typedef struct ks_shop_figures {
    char name[KS_NAME_MAX + 1];
    unsigned number;
    uint64_t items, segments, live_rows, dead_rows, head_rows, disk_bytes;
    uint64_t head_bytes, cache_bytes, profile_cache_bytes, resident_bytes, other_bytes; /* memory */
    uint64_t cache_hits, cache_misses, cache_evictions, profile_hits, profile_misses;
    char work[24]; /* what is being done in the background; "" */
    double progress;
    uint32_t generation;
    double generation_s; /* since 1970, when it was begun; 0: not known */
    int trouble;
} ks_shop_figures;

typedef struct ks_process_figures {
    double cpu_s, start_s;
    uint64_t resident_bytes, virtual_bytes, threads;
    uint64_t open_files, files_max;
} ks_process_figures;

typedef struct ks_figures {
    ks_shop_figures *shops; /* those that have a label of their own */
    size_t count;
    ks_shop_figures others; /* sums over the rest */
    size_t other_count;
    size_t broken; /* collections that refuse writes after an I/O error; 0 where that was not looked for */
    ks_process_figures process;
} ks_figures;

/* Where the process's own figures are read: opened at the beginning, because later a sandbox may not allow it. */
typedef struct ks_proc {
    int stat, statm, files; /* descriptors, -1: not there */
} ks_proc;

void ks_proc_open(ks_proc *proc);
void ks_proc_close(ks_proc *proc);
void ks_proc_read(const ks_proc *proc, ks_process_figures *figures);

/* Look at everything. doubt: also whether collections still take writes, which waits for the writes before. Without
 * memory for it, *figures stays as it was. */
void ks_figures_look(ks_figures *figures, ks_shelf *shelf, ks_counts *counts, const ks_proc *proc, int doubt);
void ks_figures_free(ks_figures *figures);
/* body_bytes: held by calls now. */
void ks_figures_write(const ks_figures *figures, uint64_t body_bytes, ks_scrape *scrape);

#endif
