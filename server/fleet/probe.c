/* SPDX-License-Identifier: Apache-2.0
 *
 * Looks at /readyz of each backend, every second or so. The next is due when it is, whether or not the last was
 * answered: one that is not by then has failed. */
#define _GNU_SOURCE
#include <stdlib.h>

#include "fleet/inner.h"

#define MS UINT64_C(1000000)

static void count(ks_backend *backend, int good, uint64_t now_ns) {
    ks_set *set = &backend->roster->set;
    backend->probes++;
    backend->probes_failed += !good;
    if (!ks_set_probed(set, backend->number, good, now_ns)) return;
    ks_fleet_tell(backend->roster->fleet, !good,
                  good ? "The backend %s is ready again, and gets calls."
                       : "The backend %s is not ready, and gets no calls.",
                  backend->place.url);
}

static void probe_over(ks_link *link, void *context) {
    ks_backend *backend = context;
    const int good = !link->wrong && link->answer.status / 100 == 2;
    /* A kept connection that is closed without an answer was closed for its age, which says nothing. */
    const int stale = link->wrong && link->reused && !ks_answer_began(&link->answer);
    backend->probe = NULL;
    ks_link_give(link);
    if (!stale) count(backend, good, ks_now_ns());
}

static void probe(void *context, uint64_t now_ns) {
    ks_backend *backend = context;
    ks_fleet *fleet = backend->roster->fleet;
    const char *wrong = NULL;
    int why = 0;
    if (backend->probe) {
        ks_link_drop(backend->probe);
        backend->probe = NULL;
        count(backend, 0, now_ns);
    }
    ks_links_drop_idle(backend, now_ns > 30000 * MS ? now_ns - 30000 * MS : 0);
    backend->probe = ks_link_take(backend, 0, &wrong, &why);
    if (backend->probe) {
        ks_text_clear(&backend->probe->head);
        ks_text_format(&backend->probe->head, "GET /readyz HTTP/1.1\r\nHost: %s\r\nUser-Agent: kith-front\r\n\r\n",
                       backend->place.host);
        backend->probe->since_ns = now_ns;
        ks_link_ask(backend->probe, NULL, 0, probe_over, backend);
    } else if (why) {
        count(backend, 0, now_ns);
    }
    ks_timer_set(&fleet->timers, &backend->probe_timer, now_ns + fleet->options.probe_ms * MS);
}

void ks_probe_start(ks_backend *backend, uint64_t now_ns, uint64_t first_ns) {
    backend->probe_timer = (ks_timer){.wake = probe, .context = backend};
    ks_timer_set(&backend->roster->fleet->timers, &backend->probe_timer, now_ns + first_ns);
}

void ks_probe_stop(ks_backend *backend) {
    ks_timer_stop(&backend->roster->fleet->timers, &backend->probe_timer);
    if (backend->probe) ks_link_drop(backend->probe);
    backend->probe = NULL;
}
