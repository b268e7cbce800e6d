/* SPDX-License-Identifier: Apache-2.0
 *
 * Asks servers how they are, plainly: a connection each, one after the other, with a limit of time. */
#define _GNU_SOURCE
#include "error/error.h"
#include "fleet/look.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fleet/inner.h"

enum { STATS_BYTES_MAX = 1 << 20, REQUEST_BYTES = 2048 };

#define MS UINT64_C(1000000)

/* Wait until the socket is ready for `events`. 1, or 0: the time is up. */
static int wait_for(int fd, short events, uint64_t until_ns) {
    for (;;) {
        const uint64_t now_ns = ks_now_ns();
        if (now_ns >= until_ns) return 0;
        struct pollfd poller = {.fd = fd, .events = events};
        const int got = poll(&poller, 1, (int)((until_ns - now_ns) / MS) + 1);
        if (got > 0) return 1;
        if (got < 0 && errno != EINTR) return 0;
    }
}

static const char *reach(int fd, const ks_place *place, uint64_t until_ns) {
    int why = 0;
    socklen_t bytes = sizeof(why);
    if (connect(fd, (const struct sockaddr *)&place->address, place->address_bytes) == 0) return NULL;
    if (errno != EINPROGRESS) return strerrordesc_np(errno);
    if (!wait_for(fd, POLLOUT, until_ns)) return "it does not take a connection in time";
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &why, &bytes);
    return why ? strerrordesc_np(why) : NULL;
}

static const char *send_all(int fd, const char *bytes, size_t count, uint64_t until_ns) {
    for (size_t sent = 0; sent < count;) {
        const ssize_t some = send(fd, bytes + sent, count - sent, MSG_NOSIGNAL);
        if (some > 0) sent += (size_t)some;
        if (some < 0 && errno != EAGAIN && errno != EINTR) return strerrordesc_np(errno);
        if (some < 0 && !wait_for(fd, POLLOUT, until_ns)) return "it does not take the request in time";
    }
    return NULL;
}

static const char *receive_all(int fd, ks_answer *answer, uint64_t until_ns) {
    char bytes[16384];
    while (answer->part != KS_ANSWER_WHOLE && answer->part != KS_ANSWER_BAD) {
        const ssize_t some = recv(fd, bytes, sizeof(bytes), 0);
        if (some > 0) ks_answer_feed(answer, bytes, (size_t)some);
        if (some == 0) ks_answer_end(answer);
        if (some < 0 && errno != EAGAIN && errno != EINTR) return strerrordesc_np(errno);
        if (some < 0 && !wait_for(fd, POLLIN, until_ns)) return "it does not answer in time";
    }
    return answer->part == KS_ANSWER_WHOLE ? NULL : answer->wrong;
}

/* NULL, or why there is no answer. */
static const char *ask(const ks_place *place, const ks_look *look, ks_answer *answer) {
    char request[REQUEST_BYTES];
    const uint64_t until_ns = ks_now_ns() + look->timeout_ms * MS;
    const int length = snprintf(request, sizeof(request),
                                "GET /v1/stats HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nUser-Agent: kith-autoscale"
                                "\r\n%s%s%s\r\n",
                                place->host, look->key ? "Authorization: Bearer " : "", look->key ? look->key : "",
                                look->key ? "\r\n" : "");
    if (length < 0 || (size_t)length >= sizeof(request)) return "the key is too long";
    const int fd = socket(place->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return strerrordesc_np(errno);
    const char *wrong = reach(fd, place, until_ns);
    if (!wrong) wrong = send_all(fd, request, (size_t)length, until_ns);
    if (!wrong) wrong = receive_all(fd, answer, until_ns);
    close(fd);
    return wrong;
}

static int number_of(const json_t *stats, const char *name, double *number) {
    const json_t *value = json_object_get(stats, name);
    if (json_is_null(value)) return 1; /* nothing was seen yet */
    if (!json_is_number(value) || !(json_number_value(value) >= 0)) return 0;
    *number = json_number_value(value);
    return 1;
}

int ks_look_read(const char *body, size_t bytes, ks_scale_sample *sample) {
    double busy = 0, queue = 0, p99_ms = 0;
    json_t *stats = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, NULL);
    const int fine = json_is_object(stats) && json_object_get(stats, "busy") && json_object_get(stats, "queue") &&
                     number_of(stats, "busy", &busy) && number_of(stats, "queue", &queue) &&
                     (!json_object_get(stats, "p99_ms") || number_of(stats, "p99_ms", &p99_ms));
    json_decref(stats);
    if (!fine) return -1;
    /* The mean, as servers come. */
    sample->busy += (busy - sample->busy) / ++sample->servers;
    sample->queue += queue;
    sample->p99_ms = fmax(sample->p99_ms, p99_ms);
    return 0;
}

static void look_at_one(const ks_place *place, const ks_look *look, ks_scale_sample *sample,
                        char silent[KITH_ERROR_TEXT_BYTES]) {
    ks_answer answer = {.body_max = STATS_BYTES_MAX};
    const char *wrong = ask(place, look, &answer);
    char status[80];
    if (!wrong && answer.status != 200) {
        snprintf(status, sizeof(status), "it answers /v1/stats with %d%s", answer.status,
                 answer.status == 401 || answer.status == 403 ? ": give a key of its own with --key-file" : "");
        wrong = status;
    }
    if (!wrong && ks_look_read(answer.body.bytes, answer.body.used, sample) != 0) wrong = "its /v1/stats is no kith's";
    if (wrong) snprintf(silent, KITH_ERROR_TEXT_BYTES, "%s is left out: %s", place->url, wrong);
    ks_answer_free(&answer);
}

/* One of the list, and what its name stands for. */
static kith_status look_at_name(const char *name, const ks_look *look, ks_place *places, ks_scale_sample *sample,
                                unsigned *asked, char silent[KITH_ERROR_TEXT_BYTES], kith_error *error) {
    kith_error why = {0};
    size_t count = 0;
    const kith_status status = ks_places_find(name, places, &count, &why);
    if (status == KITH_E_NOTFOUND) {
        snprintf(silent, KITH_ERROR_TEXT_BYTES, "%s", why.text);
        return KITH_OK;
    }
    if (status != KITH_OK && error) *error = why;
    for (size_t i = 0; i < count && status == KITH_OK; i++) look_at_one(&places[i], look, sample, silent);
    *asked += (unsigned)count;
    return status;
}

kith_status ks_look_at(const ks_look *look, double time_s, ks_scale_sample *sample, unsigned *asked,
                       char silent[KITH_ERROR_TEXT_BYTES], kith_error *error) {
    ks_place *places = calloc(KS_BACKENDS_MAX, sizeof(*places));
    if (!places) return ks_error(error, KITH_E_NOMEM, "There is no memory for a list of servers.");
    kith_status status = KITH_OK;
    *sample = (ks_scale_sample){.time_s = time_s};
    *asked = 0;
    silent[0] = 0;
    for (const char *at = look->servers; status == KITH_OK && *at;) {
        char name[KS_URL_MAX];
        at += strspn(at, ", ");
        const size_t bytes = strcspn(at, ", ");
        if (bytes >= sizeof(name)) {
            status = ks_error(error, KITH_E_ARG, "The address of a server is too long: %.80s...", at);
        } else if (bytes) {
            memcpy(name, at, bytes);
            name[bytes] = 0;
            status = look_at_name(name, look, places, sample, asked, silent, error);
        }
        at += bytes;
    }
    free(places);
    return status;
}
