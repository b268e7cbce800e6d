/* SPDX-License-Identifier: Apache-2.0
 *
 * The body of /metrics: what is counted, what was seen, and what processor and HTTP say of themselves. */
#include <stddef.h>
#include <stdlib.h>

#include "watch/inner.h"

static void write_build(ks_scrape *scrape) {
    kith_cpu cpu = KITH_CPU_INIT;
    const int known = kith_cpu_info(&cpu, NULL) == KITH_OK;
    ks_scrape_family(scrape, "kith_build", KS_INFO, NULL, "Version, and the instructions that searches use.");
    ks_scrape_uint(scrape, (const ks_label[]){{"version", kith_version()}, {"tier", known ? cpu.tier : NULL}}, 2, 1);
}

static void write_run(ks_run *run, ks_http *http, ks_scrape *scrape) {
    ks_run_state state = {0};
    ks_http_state net = {0};
    if (run) ks_run_state_of(run, &state);
    if (http) ks_http_state_of(http, &net);
    ks_scrape_family(scrape, "kith_queue_depth", KS_GAUGE, NULL,
                     "What waits: searches for a turn, other calls for a worker.");
    ks_scrape_uint(scrape, &(ks_label){"queue", "searches"}, 1, state.queued);
    ks_scrape_uint(scrape, &(ks_label){"queue", "work"}, 1, state.work_queued);
    ks_scrape_family(scrape, "kith_working", KS_GAUGE, NULL, "Calls that a worker is busy with.");
    ks_scrape_uint(scrape, NULL, 0, state.working);
    ks_scrape_family(scrape, "kith_requests_shed", KS_COUNTER, NULL,
                     "Not done, by why: searches refused (full: no room; late: their time was up while they waited; "
                     "gone: the client was) and connections or bodies (net: no room).");
    ks_scrape_uint(scrape, &(ks_label){"reason", "full"}, 1, state.refused);
    ks_scrape_uint(scrape, &(ks_label){"reason", "late"}, 1, state.late);
    ks_scrape_uint(scrape, &(ks_label){"reason", "gone"}, 1, state.gone);
    ks_scrape_uint(scrape, &(ks_label){"reason", "net"}, 1, net.refused);
    ks_scrape_family(scrape, "kith_busy_ratio", KS_GAUGE, "ratio",
                     "Share of the last second that searching took, of all loops.");
    ks_scrape_real(scrape, NULL, 0, state.busy);
    ks_scrape_family(scrape, "kith_connections", KS_GAUGE, NULL, "Open connections.");
    ks_scrape_uint(scrape, NULL, 0, net.connections);
}

/* One of the numbers of the recalls of all collections; checked 0: nothing is known. */
static void write_recalls(const ks_watch *watch, ks_scrape *scrape, const ks_recall *recalls, size_t offset) {
    for (size_t i = 0; i < watch->figures.count; i++)
        if (recalls[i].checked)
            ks_scrape_real(scrape, &(ks_label){"collection", watch->figures.shops[i].name}, 1,
                           *(const double *)(const void *)((const char *)&recalls[i] + offset));
}

static void write_recall(ks_watch *watch, ks_scrape *scrape) {
    const size_t count = watch->figures.count;
    ks_recall *recalls = calloc(count + 1, sizeof(*recalls));
    if (!recalls) {
        scrape->text->failed = 1;
        return;
    }
    for (size_t i = 0; i < count; i++) ks_recaller_tell(&watch->recaller, watch->figures.shops[i].number, &recalls[i]);
    ks_scrape_family(scrape, "kith_recall_ratio", KS_GAUGE, "ratio",
                     "Share of the true neighbours that the last checked searches found.");
    write_recalls(watch, scrape, recalls, offsetof(ks_recall, mean));
    ks_scrape_family(scrape, "kith_recall_low_ratio", KS_GAUGE, "ratio",
                     "With 95 % confidence the share lies above this.");
    write_recalls(watch, scrape, recalls, offsetof(ks_recall, low));
    ks_scrape_family(scrape, "kith_recall_high_ratio", KS_GAUGE, "ratio",
                     "With 95 % confidence the share lies below this.");
    write_recalls(watch, scrape, recalls, offsetof(ks_recall, high));
    ks_scrape_family(scrape, "kith_recall_checked", KS_COUNTER, NULL, "Searches that were asked again, exactly.");
    for (size_t i = 0; i < count; i++)
        if (recalls[i].checked)
            ks_scrape_uint(scrape, &(ks_label){"collection", watch->figures.shops[i].name}, 1, recalls[i].checked);
    free(recalls);
    ks_scrape_family(scrape, "kith_recall_samples", KS_COUNTER, NULL,
                     "Searches that were chosen to be asked again, by what came of it.");
    for (unsigned i = 0; i < KS_SAMPLED; i++)
        ks_scrape_uint(scrape, &(ks_label){"outcome", ks_sampled_names[i]}, 1,
                       atomic_load_explicit(&watch->recaller.outcomes[i], memory_order_relaxed));
}

void ks_watch_write(ks_watch *watch, ks_scrape *scrape) {
    ks_http *http = atomic_load(&watch->http);
    ks_http_state net = {0};
    if (http) ks_http_state_of(http, &net);
    write_build(scrape);
    ks_counts_write(&watch->counts, scrape);
    write_run(atomic_load(&watch->run), http, scrape);
    pthread_mutex_lock(&watch->mutex);
    write_recall(watch, scrape);
    ks_figures_write(&watch->figures, net.body_bytes, scrape);
    pthread_mutex_unlock(&watch->mutex);
    ks_scrape_family(scrape, "kith_ready", KS_GAUGE, NULL, "1 while /readyz says so.");
    ks_scrape_uint(scrape, NULL, 0, (uint64_t)(ks_watch_trouble(watch) == NULL));
    if (watch->more.write) watch->more.write(watch->more.context, scrape->text, scrape->open);
    ks_scrape_end(scrape);
}
