/* SPDX-License-Identifier: Apache-2.0 */
#include "describe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/status.h"
#include "draw.h"

/* Ranks seen less often are left out of the fit: sorted by chance counts, they look steeper than they are. */
#define FIT_COUNT_MIN 20
#define FIT_RANKS_MAX 20000
#define HOUR_US       UINT64_C(3600000000)

/* Gaps by the power of two of their microseconds, eight bins each. */
enum { GAP_BINS = 64 * 8, GROUP = 4096 };

struct session {
    uint64_t first_us, last_us;
    uint32_t events;
};

struct gathering {
    struct traffic_description *to;
    struct traffic_event events[GROUP];
    void *sessions; /* struct session each */
    size_t session_room, session_count;
    uint64_t gaps[GAP_BINS];
    uint64_t last_night_us;
};

/* ---- Fit --------------------------------------------------------------------------------------------------------- */

/* The mean of log rank under the law, which falls as s grows; the likeliest s gives it the mean that was seen. */
static double mean_log_rank(double s, const double *logs, size_t n) {
    double sum = 0, weights = 0;
    for (size_t i = 0; i < n; i++) {
        const double weight = traffic_exp(-s * logs[i]);
        weights += weight;
        sum += weight * logs[i];
    }
    return sum / weights;
}

double traffic_zipf_fit(const uint32_t *counts, size_t n) {
    double *logs = n >= 3 ? malloc(n * sizeof(double)) : NULL;
    double sum = 0, total = 0, low = -2, high = 16;
    if (!logs) return NAN;
    for (size_t i = 0; i < n; i++) {
        logs[i] = traffic_log((double)(i + 1));
        sum += counts[i] * logs[i];
        total += counts[i];
    }
    for (int i = 0; i < 40 && total > 0; i++) {
        const double middle = (low + high) / 2;
        if (mean_log_rank(middle, logs, n) > sum / total) {
            low = middle;
        } else {
            high = middle;
        }
    }
    free(logs);
    return total > 0 ? (low + high) / 2 : NAN;
}

static double share_of_first(const uint32_t *counts, size_t n, uint64_t total) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) sum += counts[i];
    return total ? (double)sum / (double)total : 0;
}

static void finish_popularity(struct traffic_popularity *popularity) {
    const size_t seen = popularity->seen = traffic_tally_sort(&popularity->tally);
    const uint32_t *counts = popularity->tally.counts;
    for (size_t i = 0; i < seen; i++) popularity->total += counts[i];
    while (popularity->fit_ranks < seen && popularity->fit_ranks < FIT_RANKS_MAX &&
           counts[popularity->fit_ranks] >= FIT_COUNT_MIN)
        popularity->fit_ranks++;
    popularity->exponent = traffic_zipf_fit(counts, popularity->fit_ranks);
    popularity->top_percent = share_of_first(counts, (seen + 99) / 100, popularity->total);
    popularity->top_tenth = share_of_first(counts, (seen + 9) / 10, popularity->total);
}

/* ---- Events ------------------------------------------------------------------------------------------------------ */

static size_t gap_bin(uint64_t gap_us) {
    size_t power = 0;
    while (gap_us >> power > 15) power++;
    return gap_us < 8 ? (size_t)gap_us : 8 * (power + 1) + (size_t)(gap_us >> power) - 8;
}

/* The middle of a bin, in seconds. */
static double gap_of_bin(size_t bin) {
    if (bin < 8) return (double)bin * 1e-6;
    const double width = (double)(UINT64_C(1) << (bin / 8 - 1));
    return ((double)(bin % 8 + 8) + 0.5) * width * 1e-6;
}

static bool gather_session(struct gathering *gathering, const struct traffic_event *event) {
    if (!ki_array_reserve(&gathering->sessions, &gathering->session_room, (uint64_t)event->session + 1,
                          sizeof(struct session)))
        return false;
    struct session *session = (struct session *)gathering->sessions + event->session;
    if (event->session == gathering->session_count) {
        gathering->session_count++;
        *session = (struct session){.first_us = event->time_us};
        if (!traffic_tally_add(&gathering->to->users.tally, event->user)) return false;
    } else {
        gathering->gaps[gap_bin(event->time_us - session->last_us)]++;
    }
    session->last_us = event->time_us;
    session->events++;
    return true;
}

static void gather_night(struct gathering *gathering, const struct traffic_event *event) {
    struct traffic_description *to = gathering->to;
    if (event->kind == TRAFFIC_INSERT) to->nightly_inserts++;
    if (event->kind == TRAFFIC_DELETE) to->nightly_deletes++;
    if (!to->nights || event->time_us != gathering->last_night_us) to->nights++;
    gathering->last_night_us = event->time_us;
}

/* False when memory is refused. */
static bool gather(struct gathering *gathering, const struct traffic_event *event) {
    struct traffic_description *to = gathering->to;
    if (event->flags & TRAFFIC_NIGHTLY) gather_night(gathering, event);
    if (event->session == TRAFFIC_NONE) return true;
    to->hours[event->time_us / HOUR_US]++;
    if (event->flags & TRAFFIC_FILTER_SEGMENT) to->filtered_segment++;
    if (event->flags & TRAFFIC_FILTER_TOPIC) to->filtered_topic++;
    if (event->kind == TRAFFIC_VIEW && !traffic_tally_add(&to->items.tally, event->item)) return false;
    return gather_session(gathering, event);
}

/* ---- Results ----------------------------------------------------------------------------------------------------- */

static int ascending(const void *a, const void *b) {
    const uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static kith_status finish_sessions(struct gathering *gathering, kith_error *error) {
    struct traffic_description *to = gathering->to;
    const struct session *sessions = gathering->sessions;
    const size_t n = gathering->session_count;
    uint32_t *lengths = ki_alloc_array(n, sizeof(uint32_t));
    if (!lengths) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu sessions", n);
    double events = 0, seconds = 0;
    for (size_t i = 0; i < n; i++) {
        lengths[i] = sessions[i].events;
        events += sessions[i].events;
        seconds += (double)(sessions[i].last_us - sessions[i].first_us) * 1e-6;
    }
    if (n) {
        qsort(lengths, n, sizeof(uint32_t), ascending);
        to->session_mean = events / (double)n;
        to->session_seconds = seconds / (double)n;
        to->session_p50 = lengths[(n - 1) / 2];
        to->session_p95 = lengths[(size_t)((double)(n - 1) * 0.95)];
        to->session_max = lengths[n - 1];
    }
    free(lengths);
    return KITH_OK;
}

static double median_gap(const struct gathering *gathering) {
    uint64_t total = 0, below = 0;
    for (size_t i = 0; i < GAP_BINS; i++) total += gathering->gaps[i];
    for (size_t i = 0; i < GAP_BINS; i++) {
        below += gathering->gaps[i];
        if (total && 2 * below >= total) return gap_of_bin(i);
    }
    return NAN;
}

static void finish_rates(struct traffic_description *to) {
    uint64_t total = 0;
    const double seconds = (double)to->counts.last_us * 1e-6;
    const size_t full = (size_t)(to->counts.last_us / HOUR_US); /* hours that are over */
    for (size_t i = 0; i < to->hour_count; i++) total += to->hours[i];
    to->mean_rate = seconds > 0 ? (double)total / seconds : 0;
    to->peak_rate = full ? 0 : to->mean_rate;
    for (size_t i = 0; i < full; i++)
        if ((double)to->hours[i] / 3600 > to->peak_rate) to->peak_rate = (double)to->hours[i] / 3600;
}

static kith_status gather_all(struct gathering *gathering, struct traffic_reader *reader, traffic_progress_fn *progress,
                              void *context, kith_error *error) {
    const uint64_t total = gathering->to->counts.events;
    uint64_t done = 0;
    for (;;) {
        size_t got = 0;
        const kith_status status = traffic_reader_next(reader, gathering->events, GROUP, &got, error);
        if (status != KITH_OK) return status;
        if (!got) return KITH_OK;
        for (size_t i = 0; i < got; i++)
            if (!gather(gathering, &gathering->events[i])) return ki_fail(error, KITH_E_NOMEM, "out of memory");
        done += got;
        if (progress && progress(context, done, total)) return ki_fail(error, KITH_E_CANCELLED, "stopped");
    }
}

kith_status traffic_describe(const char *path, traffic_progress_fn *progress, void *context,
                             struct traffic_description *description, kith_error *error) {
    struct traffic_reader *reader;
    kith_status status = traffic_reader_open(path, &reader, error);
    if (status != KITH_OK) return status;
    memset(description, 0, sizeof(*description));
    description->options = *traffic_reader_options(reader);
    description->counts = *traffic_reader_counts(reader);
    /* The reader refuses events beyond the days of the options, which are at most 3,650. */
    description->hour_count = (size_t)(description->options.days * 24) + 1;
    description->hours = calloc(description->hour_count, sizeof(uint64_t));
    struct gathering *gathering = calloc(1, sizeof(*gathering));
    if (!description->hours || !gathering) status = ki_fail(error, KITH_E_NOMEM, "out of memory");
    if (status == KITH_OK) {
        gathering->to = description;
        status = gather_all(gathering, reader, progress, context, error);
    }
    if (status == KITH_OK) status = finish_sessions(gathering, error);
    if (status == KITH_OK) {
        description->gap_p50 = median_gap(gathering);
        finish_rates(description);
        finish_popularity(&description->users);
        finish_popularity(&description->items);
    }
    if (gathering) free(gathering->sessions);
    free(gathering);
    traffic_reader_close(reader);
    if (status != KITH_OK) traffic_description_free(description);
    return status;
}

void traffic_description_free(struct traffic_description *description) {
    free(description->hours);
    traffic_tally_free(&description->users.tally);
    traffic_tally_free(&description->items.tally);
    memset(description, 0, sizeof(*description));
}
