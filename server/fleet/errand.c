/* SPDX-License-Identifier: Apache-2.0
 *
 * A call on its way: whom it is asked of, whether another is asked too or again, and how it ends.
 *
 * 1. At most two are asked at the same time: the first, and the hedge. A retry begins when nobody is being asked.
 * 2. What is not a read is asked once. If a connection breaks, nobody knows whether it was done, and the reply says
 *    so. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fleet/inner.h"

#define MS             UINT64_C(1000000)
/* Whether the client has gone is looked at so often. */
#define LOOK_NS        (100 * MS)
/* A hedge is not worth its cost below this; a guess. */
#define HEDGE_LEAST_NS MS

enum { HEDGE_CALLS_LEAST = 20, RETRIES_MAX = 1, RENEWALS_MAX = 1, UNREACHED_MAX = 3 };

/* ---- The end ----------------------------------------------------------------------------------------------------- */

static void stop_attempt(ks_attempt *attempt, ks_outcome outcome, uint64_t now_ns) {
    if (!attempt->link) return;
    ks_set_ended(&attempt->errand->roster->set, attempt->backend, outcome, now_ns - attempt->began_ns, now_ns);
    ks_link_drop(attempt->link);
    attempt->link = NULL;
}

/* The reply is written. The errand lies in the call's memory: nothing of it may be touched afterwards. */
static void end(ks_errand *errand, ks_outcome of_others, uint64_t now_ns) {
    ks_fleet *fleet = errand->fleet;
    ks_call *call = errand->call;
    for (size_t i = 0; i < KS_ATTEMPTS_MAX; i++) stop_attempt(&errand->attempts[i], of_others, now_ns);
    ks_timer_stop(&fleet->timers, &errand->timer);
    *errand->at = errand->next;
    if (errand->next) errand->next->at = errand->at;
    fleet->calls--;
    pthread_mutex_lock(&fleet->queue_lock);
    fleet->queued--;
    pthread_mutex_unlock(&fleet->queue_lock);
    ks_roster_leave(errand->roster);
    ks_call_done(call);
}

void ks_errand_fail(ks_errand *errand, int status, const char *sentence, uint64_t now_ns) {
    ks_call_fail(errand->call, status, "%s", sentence);
    if (status == 503) errand->call->reply.retry_after_s = 1;
    end(errand, status == 504 ? KS_CAME_BAD : KS_CAME_STOPPED, now_ns);
}

/* NULL: it is not there, or there was no memory for it, which the reply's end would be the first to suffer from. */
static const char *copied(ks_call *call, const ks_answer *answer, const char *name) {
    size_t count;
    const char *value = ks_answer_header(answer, name, &count);
    return value ? ks_call_copy(call, value, count) : NULL;
}

static void pass_on(ks_errand *errand, ks_attempt *attempt, ks_link *link, uint64_t now_ns) {
    ks_reply *reply = &errand->call->reply;
    ks_answer *answer = &link->answer;
    const char *type = copied(errand->call, answer, "Content-Type");
    const char *retry_after = copied(errand->call, answer, "Retry-After");
    reply->status = answer->status;
    reply->type = type ? type : "application/octet-stream";
    reply->etag = copied(errand->call, answer, "ETag");
    reply->cache_control = copied(errand->call, answer, "Cache-Control");
    reply->location = copied(errand->call, answer, "Location");
    reply->allow = copied(errand->call, answer, "Allow");
    if (retry_after) {
        const long seconds = strtol(retry_after, NULL, 10);
        reply->retry_after_s = seconds > 0 && seconds < 86400 ? (unsigned)seconds : 1;
    }
    ks_text_free(&reply->body);
    reply->body = answer->body;
    answer->body = (ks_text){0};
    if (attempt->hedge) errand->fleet->hedges_won++;
    ks_link_give(link);
    end(errand, KS_CAME_STOPPED, now_ns);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static void attempt_over(ks_link *link, void *context);

static void note(ks_errand *errand, size_t backend, const char *wrong, int why) {
    const char *url = errand->roster->backends[backend].place.url;
    char reason[80] = "";
    if (why) snprintf(reason, sizeof(reason), ": %s", strerrordesc_np(why));
    snprintf(errand->wrong, sizeof(errand->wrong), "The backend %s %s%s.", url, wrong, reason);
}

static uint64_t left_ms(const ks_errand *errand, uint64_t now_ns) {
    const uint64_t deadline = errand->call->deadline_ns;
    return deadline > now_ns ? (deadline - now_ns) / MS + 1 : 1;
}

/* 1, or 0 and errand->wrong is written. */
static int ask(ks_errand *errand, size_t number, int hedge, int fresh, uint64_t now_ns) {
    ks_backend *backend = &errand->roster->backends[number];
    ks_attempt *attempt = errand->attempts[0].link ? &errand->attempts[1] : &errand->attempts[0];
    const char *wrong = NULL;
    int why = 0;
    errand->tried |= UINT64_C(1) << number;
    ks_link *link = ks_link_take(backend, fresh, &wrong, &why);
    if (link) {
        ks_request_write(&link->head, errand->call, backend->place.host, left_ms(errand, now_ns));
        if (link->head.failed) {
            wrong = "cannot be asked for want of memory";
            ks_link_drop(link);
            link = NULL;
        }
    }
    ks_set_began(&errand->roster->set, number);
    if (!link) {
        /* Our own want is not the backend's fault. */
        ks_set_ended(&errand->roster->set, number, why ? KS_CAME_BAD : KS_CAME_STOPPED, 0, now_ns);
        note(errand, number, wrong, why);
        return 0;
    }
    *attempt = (ks_attempt){
        .errand = errand, .link = link, .backend = number, .began_ns = now_ns, .hedge = hedge, .fresh = fresh};
    link->since_ns = now_ns;
    ks_link_ask(link, errand->call->body, errand->call->body_bytes, attempt_over, attempt);
    return 1;
}

static int is_asking(const ks_errand *errand) {
    return errand->attempts[0].link || errand->attempts[1].link;
}

/* Ask another: once, if the budget allows it; and a few times, without asking the budget, while nobody was reached,
 * since that gave nobody any work. */
static int retry(ks_errand *errand, int reached, uint64_t now_ns) {
    while (errand->kind == KS_KIND_READ && now_ns < errand->call->deadline_ns) {
        if (reached ? errand->retries >= RETRIES_MAX : errand->unreached >= UNREACHED_MAX) return 0;
        const size_t number = ks_set_pick(&errand->roster->set, errand->tried, now_ns);
        if (number == SIZE_MAX || (reached && !ks_budget_take(&errand->fleet->retries, now_ns))) return 0;
        errand->retries += reached != 0;
        errand->unreached += !reached;
        if (ask(errand, number, 0, 0, now_ns)) return 1;
        reached = 0;
    }
    return 0;
}

static void plan(ks_errand *errand, uint64_t now_ns) {
    uint64_t due = now_ns + LOOK_NS;
    if (errand->call->deadline_ns < due) due = errand->call->deadline_ns;
    if (errand->hedge_ns && errand->hedge_ns < due) due = errand->hedge_ns;
    for (size_t i = 0; i < KS_ATTEMPTS_MAX; i++) {
        const ks_attempt *attempt = &errand->attempts[i];
        const uint64_t connected = attempt->began_ns + errand->fleet->options.connect_ms * MS;
        if (attempt->link && attempt->link->connecting && connected < due) due = connected;
    }
    if (!ks_timer_set(&errand->fleet->timers, &errand->timer, due))
        ks_errand_fail(errand, 503, "There is no memory for another call.", now_ns);
}

/* Nobody is being asked, and nobody will be. */
static void give_up(ks_errand *errand, uint64_t now_ns) {
    char sentence[sizeof(errand->wrong) + 100];
    snprintf(sentence, sizeof(sentence), "%s%s", errand->wrong,
             errand->kind == KS_KIND_READ ? "" : " Whether it did what was asked is not known.");
    ks_errand_fail(errand, 502, sentence, now_ns);
}

static ks_outcome judge(const ks_link *link) {
    if (link->wrong) return KS_CAME_BAD;
    switch (link->answer.status) {
    case 429:
    case 503:
        return KS_CAME_BUSY;
    case 500:
    case 502:
    case 504:
        return KS_CAME_BAD;
    default:
        return KS_CAME_GOOD;
    }
}

/* Whether another server might do better. */
static int is_final(const ks_link *link) {
    const int status = link->answer.status;
    return !link->wrong && status != 502 && status != 503 && status != 504;
}

static void attempt_over(ks_link *link, void *context) {
    ks_attempt *attempt = context;
    ks_errand *errand = attempt->errand;
    const uint64_t now_ns = ks_now_ns();
    /* A kept connection that is closed without an answer was closed for its age. */
    const int stale = link->wrong && link->reused && !ks_answer_began(&link->answer);
    ks_set_ended(&errand->roster->set, attempt->backend, stale ? KS_CAME_STOPPED : judge(link),
                 stale ? 0 : now_ns - attempt->began_ns, now_ns);
    attempt->link = NULL;
    if (is_final(link)) {
        pass_on(errand, attempt, link, now_ns);
        return;
    }
    if (link->wrong) note(errand, attempt->backend, link->wrong, link->why);
    const int reached = !(link->wrong && link->connecting);
    const int again =
        !is_asking(errand) && ((stale && errand->kind == KS_KIND_READ && errand->renewals++ < RENEWALS_MAX &&
                                ask(errand, attempt->backend, attempt->hedge, 1, now_ns)) ||
                               retry(errand, reached, now_ns));
    if (again || is_asking(errand)) {
        ks_link_give(link);
        plan(errand, now_ns);
    } else if (!link->wrong) {
        pass_on(errand, attempt, link, now_ns);
    } else {
        ks_link_drop(link);
        give_up(errand, now_ns);
    }
}

/* ---- Time -------------------------------------------------------------------------------------------------------- */

static void hedge(ks_errand *errand, uint64_t now_ns) {
    ks_roster *roster = errand->roster;
    errand->hedge_ns = 0;
    if (!ks_set_fit(&roster->set)) return;
    const size_t number = ks_set_pick(&roster->set, errand->tried, now_ns);
    if (number == SIZE_MAX || !ks_budget_take(&errand->fleet->hedges, now_ns)) return;
    (void)ask(errand, number, 1, 0, now_ns);
}

static void look_after(void *context, uint64_t now_ns) {
    ks_errand *errand = context;
    const uint64_t patience = errand->fleet->options.connect_ms * MS;
    if (ks_call_gone(errand->call)) {
        ks_errand_fail(errand, 499, "The client has gone.", now_ns);
        return;
    }
    if (now_ns >= errand->call->deadline_ns) {
        char sentence[KS_URL_MAX + 100];
        const ks_attempt *asked = &errand->attempts[errand->attempts[0].link ? 0 : 1];
        snprintf(sentence, sizeof(sentence), "The backend %s did not answer in time.",
                 errand->roster->backends[asked->backend].place.url);
        ks_errand_fail(errand, 504, sentence, now_ns);
        return;
    }
    for (size_t i = 0; i < KS_ATTEMPTS_MAX; i++) {
        ks_attempt *attempt = &errand->attempts[i];
        if (!attempt->link || !attempt->link->connecting || now_ns < attempt->began_ns + patience) continue;
        note(errand, attempt->backend, "does not take a connection", 0);
        stop_attempt(attempt, KS_CAME_BAD, now_ns);
    }
    if (!is_asking(errand) && !retry(errand, 0, now_ns)) {
        give_up(errand, now_ns);
        return;
    }
    if (errand->hedge_ns && now_ns >= errand->hedge_ns) hedge(errand, now_ns);
    plan(errand, now_ns);
}

/* ---- The beginning ----------------------------------------------------------------------------------------------- */

static size_t choose(ks_errand *errand, uint64_t now_ns) {
    ks_roster *roster = errand->roster;
    if (errand->kind != KS_KIND_READ && roster->set.count == 1) return 0;
    if (errand->kind != KS_KIND_READ && roster->write_to != SIZE_MAX) return roster->write_to;
    if (errand->kind == KS_KIND_WRITE) return SIZE_MAX;
    return ks_set_pick(&roster->set, 0, now_ns);
}

void ks_errand_begin(ks_errand *errand, uint64_t now_ns) {
    ks_fleet *fleet = errand->fleet;
    errand->timer = (ks_timer){.wake = look_after, .context = errand};
    ks_budget_call(&fleet->retries, now_ns);
    if (errand->kind == KS_KIND_READ) ks_budget_call(&fleet->hedges, now_ns);
    const size_t number = choose(errand, now_ns);
    if (number == SIZE_MAX) {
        ks_errand_fail(errand, 403,
                       "This server forwards to several backends, which do not copy writes to each other, so it takes "
                       "none: send writes to the server that the others follow, or name it with --write-to.",
                       now_ns);
        return;
    }
    if (errand->kind == KS_KIND_READ && errand->roster->set.count > 1) {
        const uint64_t usual = ks_latency_quantile(&errand->roster->set.peers[number].latency, 0.95, HEDGE_CALLS_LEAST);
        if (usual) errand->hedge_ns = now_ns + (usual > HEDGE_LEAST_NS ? usual : HEDGE_LEAST_NS);
    }
    if (ask(errand, number, 0, 0, now_ns) || retry(errand, 0, now_ns)) {
        plan(errand, now_ns);
    } else {
        ks_errand_fail(errand, 502, errand->wrong, now_ns);
    }
}
