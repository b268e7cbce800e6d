/* SPDX-License-Identifier: Apache-2.0
 *
 * What a front tells of its backends, as Prometheus reads it. */
#include <string.h>

#include "fleet/inner.h"

void ks_fleet_state_of(ks_fleet *fleet, ks_fleet_state *state) {
    pthread_mutex_lock(&fleet->lock);
    *state = (ks_fleet_state){.backends = fleet->roster->set.count,
                              .fit = ks_set_fit(&fleet->roster->set),
                              .under_way = fleet->calls,
                              .retries = fleet->retries.taken,
                              .retries_refused = fleet->retries.refused,
                              .hedges = fleet->hedges.taken,
                              .hedges_refused = fleet->hedges.refused,
                              .hedges_won = fleet->hedges_won,
                              .panics = fleet->roster->set.panics};
    pthread_mutex_unlock(&fleet->lock);
}

typedef struct writer {
    ks_text *text;
    const ks_roster *roster;
    int open;
} writer;

static void head(const writer *to, const char *name, const char *type, const char *help) {
    const size_t length = strlen(name);
    const int shown = (int)(to->open && strcmp(type, "counter") == 0 ? length - strlen("_total") : length);
    ks_text_format(to->text, "# HELP %.*s %s\n# TYPE %.*s %s\n", shown, name, help, shown, name, type);
}

/* A backend's address holds letters, digits and ":/.-_[]" only: nothing that a label must escape. */
static void each(const writer *to, const char *name, const char *type, const char *help,
                 double (*value)(const ks_roster *roster, size_t backend)) {
    head(to, name, type, help);
    for (size_t i = 0; i < to->roster->set.count; i++)
        ks_text_format(to->text, "%s{backend=\"%s\"} %.12g\n", name, to->roster->backends[i].place.url,
                       value(to->roster, i));
}

static double up(const ks_roster *roster, size_t i) {
    return roster->set.peers[i].health.state == KS_HEALTH_UP;
}
static double weight(const ks_roster *roster, size_t i) {
    return ks_health_weight(&roster->set.peers[i].health, &roster->set.health, ks_now_ns());
}
static double under_way(const ks_roster *roster, size_t i) {
    return roster->set.peers[i].under_way;
}
static double connections(const ks_roster *roster, size_t i) {
    return (double)roster->backends[i].link_count;
}
static double peak(const ks_roster *roster, size_t i) {
    return ks_latency_peak(&roster->set.peers[i].latency, ks_now_ns()) / 1e9;
}
static double p95(const ks_roster *roster, size_t i) {
    return (double)ks_latency_quantile(&roster->set.peers[i].latency, 0.95, 1) / 1e9;
}
static double took(const ks_roster *roster, size_t i) {
    return (double)roster->set.peers[i].took_ns / 1e9;
}
static double times_out(const ks_roster *roster, size_t i) {
    return (double)roster->set.peers[i].times_out;
}
static double times_dead(const ks_roster *roster, size_t i) {
    return (double)roster->set.peers[i].times_dead;
}
static double probes_failed(const ks_roster *roster, size_t i) {
    return (double)roster->backends[i].probes_failed;
}

static void calls(const writer *to) {
    const ks_roster *roster = to->roster;
    static const char *const outcomes[KS_OUTCOMES] = {"good", "busy", "bad", "stopped"};
    head(to, "kith_backend_calls_total", "counter",
         "Calls by what came of them; stopped: another backend was faster, or the client had gone.");
    for (size_t i = 0; i < roster->set.count; i++)
        for (size_t o = 0; o < KS_OUTCOMES; o++)
            ks_text_format(to->text, "kith_backend_calls_total{backend=\"%s\",outcome=\"%s\"} %llu\n",
                           roster->backends[i].place.url, outcomes[o],
                           (unsigned long long)roster->set.peers[i].outcomes[o]);
}

static void one(const writer *to, const char *name, const char *type, const char *help, uint64_t value) {
    head(to, name, type, help);
    ks_text_format(to->text, "%s %llu\n", name, (unsigned long long)value);
}

void ks_fleet_metrics(ks_fleet *fleet, ks_text *text, int open) {
    ks_fleet_state state;
    ks_fleet_state_of(fleet, &state);
    pthread_mutex_lock(&fleet->lock);
    const writer to = {text, fleet->roster, open};
    each(&to, "kith_backend_up", "gauge", "Whether the backend gets calls.", up);
    each(&to, "kith_backend_weight_ratio", "gauge", "Its share of a full weight: less after it came back.", weight);
    each(&to, "kith_backend_under_way", "gauge", "Calls that it is being asked now.", under_way);
    each(&to, "kith_backend_connections", "gauge", "Connections to it.", connections);
    each(&to, "kith_backend_peak_seconds", "gauge", "Moving average of its time that jumps up at once.", peak);
    each(&to, "kith_backend_p95_seconds", "gauge", "95th percentile of the last ten to twenty seconds.", p95);
    calls(&to);
    each(&to, "kith_backend_seconds_total", "counter", "Sum of the time that its calls took.", took);
    each(&to, "kith_backend_ejections_total", "counter", "Times it was put out because calls failed.", times_out);
    each(&to, "kith_backend_deaths_total", "counter", "Times it was not ready.", times_dead);
    each(&to, "kith_backend_probes_failed_total", "counter", "Looks at /readyz that failed.", probes_failed);
    pthread_mutex_unlock(&fleet->lock);
    one(&to, "kith_fleet_under_way", "gauge", "Calls on their way.", state.under_way);
    one(&to, "kith_fleet_retries_total", "counter", "Calls that were tried again.", state.retries);
    one(&to, "kith_fleet_retries_refused_total", "counter", "Retries that the budget did not allow.",
        state.retries_refused);
    one(&to, "kith_fleet_hedges_total", "counter", "Reads that were asked of a second backend.", state.hedges);
    one(&to, "kith_fleet_hedges_refused_total", "counter", "Hedges that the budget did not allow.",
        state.hedges_refused);
    one(&to, "kith_fleet_hedges_won_total", "counter", "Hedges whose answer was the first.", state.hedges_won);
    one(&to, "kith_fleet_panics_total", "counter", "Calls that went out though no backend was fit.", state.panics);
}
