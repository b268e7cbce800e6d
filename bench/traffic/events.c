/* SPDX-License-Identifier: Apache-2.0
 *
 * The generator: four processes in continuous time, merged by the time of their next event. At equal times the order is
 * night, changes, sessions under way, arrivals. */
#include "events.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/status.h"
#include "sessions.h"

#define NEVER UINT64_MAX

struct night {
    uint64_t time_us;
    uint64_t number; /* 1, 2, ... */
    uint64_t left;   /* replacements to come */
    bool insert_next, started;
};

struct traffic {
    struct traffic_options options;
    struct traffic_users users;
    struct traffic_catalog catalog;
    struct traffic_sessions sessions;
    struct traffic_counts counts;
    uint64_t end_us;
    ki_rng arrivals;
    double sessions_a_second;
    uint64_t arrival_us;
    ki_rng changes;
    double changes_a_second;
    uint64_t change_us;
    struct night night;
    uint64_t next_item;
    uint32_t generation;
};

/* ---- Changes of the catalogue ------------------------------------------------------------------------------------ */

static void set_next_change(struct traffic *traffic) {
    if (!(traffic->changes_a_second > 0)) {
        traffic->change_us = NEVER;
        return;
    }
    traffic->change_us += traffic_us(traffic_exponential(&traffic->changes) / traffic->changes_a_second);
}

static struct traffic_event item_event(const struct traffic *traffic, enum traffic_kind kind, uint32_t slot) {
    const struct traffic_slot *item = traffic_catalog_slot(&traffic->catalog, slot);
    const uint32_t topics = (uint32_t)traffic->options.topics;
    return (struct traffic_event){.user = TRAFFIC_NONE,
                                  .session = TRAFFIC_NONE,
                                  .item = item->item,
                                  .row = TRAFFIC_NONE,
                                  .segment = item->list / topics,
                                  .kind = (uint8_t)kind,
                                  .topic = (uint16_t)(item->list % topics)};
}

static kith_status insert(struct traffic *traffic, struct traffic_event *event, kith_error *error) {
    if (traffic->next_item >= TRAFFIC_NONE || traffic->counts.item_rows >= TRAFFIC_NONE)
        return ki_fail(error, KITH_E_LIMIT, "more items than 32 bits can number: shorten --days or lower --insert");
    uint32_t slot;
    if (!traffic_catalog_insert(&traffic->catalog, (uint32_t)traffic->next_item, (uint32_t)traffic->counts.item_rows,
                                &slot))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %u live items", traffic->catalog.live);
    *event = item_event(traffic, TRAFFIC_INSERT, slot);
    event->row = (uint32_t)traffic->counts.item_rows;
    traffic->next_item++;
    return KITH_OK;
}

static kith_status update(struct traffic *traffic, struct traffic_event *event, kith_error *error) {
    if (traffic->counts.item_rows >= TRAFFIC_NONE)
        return ki_fail(error, KITH_E_LIMIT, "more vectors than 32 bits can number: shorten --days or lower --update");
    const uint32_t slot = traffic_catalog_any(&traffic->catalog);
    traffic_catalog_slot(&traffic->catalog, slot)->row = (uint32_t)traffic->counts.item_rows;
    *event = item_event(traffic, TRAFFIC_UPDATE, slot);
    event->row = (uint32_t)traffic->counts.item_rows;
    return KITH_OK;
}

static void remove_slot(struct traffic *traffic, uint32_t slot, struct traffic_event *event) {
    *event = item_event(traffic, TRAFFIC_DELETE, slot);
    traffic_catalog_delete(&traffic->catalog, slot);
}

/* One change; *made false where the last live item would go. */
static kith_status change(struct traffic *traffic, struct traffic_event *event, bool *made, kith_error *error) {
    const struct traffic_options *options = &traffic->options;
    const double all = options->insert_share + options->update_share + options->delete_share;
    const double at = ki_rng_unit(&traffic->changes) * all;
    *made = true;
    set_next_change(traffic);
    if (at < options->insert_share) return insert(traffic, event, error);
    if (at < options->insert_share + options->update_share) return update(traffic, event, error);
    *made = traffic->catalog.live > 1;
    if (*made) remove_slot(traffic, traffic_catalog_any(&traffic->catalog), event);
    return KITH_OK;
}

/* ---- Nights ------------------------------------------------------------------------------------------------------ */

/* Of two items the older one: what is replaced is mostly old, and sometimes not. */
static uint32_t old_slot(struct traffic *traffic) {
    const uint32_t a = traffic_catalog_any(&traffic->catalog), b = traffic_catalog_any(&traffic->catalog);
    const bool a_older =
        traffic_catalog_slot(&traffic->catalog, a)->item <= traffic_catalog_slot(&traffic->catalog, b)->item;
    return a_older ? a : b;
}

static void set_next_night(struct traffic *traffic) {
    traffic->night = (struct night){
        .time_us = traffic->night.time_us + TRAFFIC_DAY_US, .number = traffic->night.number + 1, .insert_next = true};
}

/* One event of the night: an insert and a delete for each item replaced, then the flip; *made false at its end. */
static kith_status night(struct traffic *traffic, struct traffic_event *event, bool *made, kith_error *error) {
    struct night *night = &traffic->night;
    kith_status status = KITH_OK;
    if (!night->started) {
        night->left = (uint64_t)(traffic->options.churn * traffic->catalog.live);
        night->started = true;
    }
    *made = true;
    if (night->left) {
        if (night->insert_next) {
            status = insert(traffic, event, error);
        } else {
            remove_slot(traffic, old_slot(traffic), event);
            night->left--;
        }
        night->insert_next = !night->insert_next;
        event->flags = TRAFFIC_NIGHTLY;
        return status;
    }
    *made = traffic->options.flip_days && night->number % traffic->options.flip_days == 0;
    if (*made)
        *event = (struct traffic_event){.user = TRAFFIC_NONE,
                                        .session = TRAFFIC_NONE,
                                        .item = TRAFFIC_NONE,
                                        .row = ++traffic->generation,
                                        .segment = TRAFFIC_NONE,
                                        .kind = TRAFFIC_FLIP};
    set_next_night(traffic);
    return KITH_OK;
}

/* ---- Sessions ---------------------------------------------------------------------------------------------------- */

static kith_status arrive(struct traffic *traffic, kith_error *error) {
    if (traffic->counts.sessions >= TRAFFIC_NONE)
        return ki_fail(error, KITH_E_LIMIT, "more sessions than 32 bits can number: shorten --days or lower --rate");
    const struct traffic_options *options = &traffic->options;
    struct traffic_session session = {
        .next_us = traffic->arrival_us,
        .rng = traffic_stream(options->seed, PURPOSE_SESSION, traffic->counts.sessions),
        .number = (uint32_t)traffic->counts.sessions,
        .item = TRAFFIC_NONE,
    };
    session.user = traffic_user_draw(&traffic->users, &session.rng);
    session.segment = traffic_user_segment(&traffic->users, session.user);
    session.left = traffic_session_length(options, &session.rng);
    session.topic =
        traffic_user_session_topic(&traffic->users, session.user, session.next_us, options->explore, &session.rng);
    if (!traffic_sessions_add(&traffic->sessions, &session))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu sessions at once", traffic->sessions.count);
    traffic->counts.sessions++;
    traffic->arrival_us =
        traffic_next_arrival(options, traffic->sessions_a_second, traffic->arrival_us, &traffic->arrivals);
    return KITH_OK;
}

static kith_status query(struct traffic *traffic, struct traffic_session *session, struct traffic_event *event,
                         bool by_user, kith_error *error) {
    const struct traffic_options *options = &traffic->options;
    if (ki_rng_unit(&session->rng) < options->topic_switch)
        session->topic = traffic_user_session_topic(&traffic->users, session->user, session->next_us, options->explore,
                                                    &session->rng);
    if (ki_rng_unit(&session->rng) < options->segment_filter) event->flags |= TRAFFIC_FILTER_SEGMENT;
    if (ki_rng_unit(&session->rng) < options->topic_filter) event->flags |= TRAFFIC_FILTER_TOPIC;
    event->topic = session->topic;
    event->kind = by_user ? TRAFFIC_QUERY_USER : TRAFFIC_QUERY_VECTOR;
    if (by_user) return KITH_OK;
    if (traffic->counts.query_rows >= TRAFFIC_NONE)
        return ki_fail(error, KITH_E_LIMIT, "more queries than 32 bits can number: shorten --days or lower --rate");
    event->item = session->item;
    event->row = (uint32_t)traffic->counts.query_rows;
    return KITH_OK;
}

static void look(struct traffic_session *session, struct traffic_event *event, const struct traffic_slot *item,
                 uint64_t topics) {
    event->kind = TRAFFIC_VIEW;
    event->item = session->item = item->item;
    event->topic = (uint16_t)(item->list % topics);
}

/* An item that went away, or whose slot moved, since it was viewed is not liked any more: it is looked for anew. */
static bool like(struct traffic *traffic, struct traffic_session *session, struct traffic_event *event) {
    if (!session->likes) return false;
    session->likes = false;
    if (session->slot >= traffic->catalog.live) return false;
    const struct traffic_slot *item = traffic_catalog_slot(&traffic->catalog, session->slot);
    if (item->item != session->item) return false;
    look(session, event, item, traffic->options.topics);
    event->kind = TRAFFIC_LIKE;
    return true;
}

/* What the session does at its moment. The first event is a query. */
static kith_status act(struct traffic *traffic, struct traffic_session *session, bool first,
                       struct traffic_event *event, kith_error *error) {
    const struct traffic_options *options = &traffic->options;
    *event = (struct traffic_event){.user = session->user,
                                    .session = session->number,
                                    .item = TRAFFIC_NONE,
                                    .row = TRAFFIC_NONE,
                                    .segment = session->segment};
    if (!first && like(traffic, session, event)) return KITH_OK;
    if (first || ki_rng_unit(&session->rng) < options->query_share)
        return query(traffic, session, event, ki_rng_unit(&session->rng) < options->user_query_share, error);
    session->slot = traffic_catalog_draw(&traffic->catalog, session->segment, session->topic, &session->rng);
    if (session->slot == TRAFFIC_NONE) return query(traffic, session, event, true, error);
    look(session, event, traffic_catalog_slot(&traffic->catalog, session->slot), options->topics);
    session->likes = ki_rng_unit(&session->rng) < options->like_share;
    return KITH_OK;
}

static kith_status session_step(struct traffic *traffic, bool first, struct traffic_event *event, kith_error *error) {
    struct traffic_session *session = traffic_sessions_first(&traffic->sessions);
    const kith_status status = act(traffic, session, first, event, error);
    if (--session->left) {
        session->next_us += traffic_session_gap_us(&traffic->options, &session->rng);
        traffic_sessions_settle(&traffic->sessions);
    } else {
        traffic_sessions_remove_first(&traffic->sessions);
    }
    return status;
}

/* ---- The merge --------------------------------------------------------------------------------------------------- */

static void count(struct traffic *traffic, const struct traffic_event *event) {
    struct traffic_counts *counts = &traffic->counts;
    counts->events++;
    counts->kinds[event->kind]++;
    counts->last_us = event->time_us;
    counts->live_items = traffic->catalog.live;
    if (event->kind == TRAFFIC_INSERT || event->kind == TRAFFIC_UPDATE) counts->item_rows++;
    if (event->kind == TRAFFIC_QUERY_VECTOR) counts->query_rows++;
}

static uint64_t session_time(const struct traffic *traffic) {
    const struct traffic_session *session = traffic_sessions_first(&traffic->sessions);
    return session ? session->next_us : NEVER;
}

static uint64_t next_time(const struct traffic *traffic) {
    return ki_min_u64(ki_min_u64(traffic->night.time_us, traffic->change_us),
                      ki_min_u64(traffic->arrival_us, session_time(traffic)));
}

/* The next event of the process whose turn it is; *made false where that process had none after all. */
static kith_status step(struct traffic *traffic, struct traffic_event *event, bool *made, kith_error *error) {
    const uint64_t next_us = next_time(traffic);
    kith_status status = KITH_OK;
    *made = true;
    if (next_us == traffic->night.time_us) {
        status = night(traffic, event, made, error);
    } else if (next_us == traffic->change_us) {
        status = change(traffic, event, made, error);
    } else {
        const bool first = next_us < session_time(traffic); /* then the arriving one will stand first in the heap */
        if (first) status = arrive(traffic, error);
        if (status == KITH_OK) status = session_step(traffic, first, event, error);
    }
    event->time_us = next_us;
    return status;
}

kith_status traffic_read(struct traffic *traffic, struct traffic_event *events, size_t room, size_t *got,
                         kith_error *error) {
    const uint64_t limit = traffic->options.events ? traffic->options.events : UINT64_MAX;
    size_t used = 0;
    while (used < room && traffic->counts.events < limit && next_time(traffic) < traffic->end_us) {
        struct traffic_event event = {0};
        bool made;
        const kith_status status = step(traffic, &event, &made, error);
        if (status != KITH_OK) return status;
        if (!made) continue;
        count(traffic, &event);
        events[used++] = event;
        if (event.kind == TRAFFIC_FLIP) break;
    }
    *got = used;
    return KITH_OK;
}

/* ---- Life -------------------------------------------------------------------------------------------------------- */

static void start_clocks(struct traffic *traffic) {
    const struct traffic_options *options = &traffic->options;
    traffic->end_us = (uint64_t)(options->days * (double)TRAFFIC_DAY_US);
    traffic->arrivals = traffic_stream(options->seed, PURPOSE_ARRIVALS, 0);
    traffic->sessions_a_second = options->rate / options->session_length;
    traffic->arrival_us = traffic_next_arrival(options, traffic->sessions_a_second, 0, &traffic->arrivals);
    traffic->changes = traffic_stream(options->seed, PURPOSE_CHANGES, 0);
    const double shares = options->insert_share + options->update_share + options->delete_share;
    traffic->changes_a_second = shares * (double)options->items / 86400;
    set_next_change(traffic);
    traffic->night =
        (struct night){.time_us = (uint64_t)(options->churn_hour * 3600e6), .number = 1, .insert_next = true};
}

kith_status traffic_create(const struct traffic_options *options, struct traffic **out, kith_error *error) {
    kith_status status = traffic_options_check(options, error);
    if (status != KITH_OK) return status;
    struct traffic *traffic = calloc(1, sizeof(*traffic));
    if (!traffic) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    traffic->options = *options;
    traffic_users_init(&traffic->users, options);
    if (!traffic_catalog_init(&traffic->catalog, options, &traffic->users)) {
        traffic_destroy(traffic);
        return ki_fail(error, KITH_E_NOMEM, "out of memory for %llu items", (unsigned long long)options->items);
    }
    traffic->next_item = traffic->counts.item_rows = traffic->counts.live_items = options->items;
    start_clocks(traffic);
    *out = traffic;
    return KITH_OK;
}

const struct traffic_counts *traffic_get_counts(const struct traffic *traffic) {
    return &traffic->counts;
}

const struct traffic_catalog *traffic_get_catalog(const struct traffic *traffic) {
    return &traffic->catalog;
}

void traffic_destroy(struct traffic *traffic) {
    if (!traffic) return;
    traffic_catalog_destroy(&traffic->catalog);
    free(traffic->sessions.heap);
    free(traffic);
}
