/* SPDX-License-Identifier: Apache-2.0
 *
 * Connections to backends: one request at a time each, kept for the next. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fleet/inner.h"

enum { READ_BYTES = 65536, READS_MAX = 16 };

static void unlink_idle(ks_link *link) {
    if (!link->at) return;
    *link->at = link->next;
    if (link->next) link->next->at = link->at;
    link->next = NULL;
    link->at = NULL;
    link->backend->idle_count--;
}

static void watch(ks_link *link, uint32_t events) {
    if (link->watched == events) return;
    struct epoll_event event = {.events = events, .data.ptr = link};
    epoll_ctl(link->fleet->epoll, link->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, link->fd, &event);
    link->watched = events;
}

/* Nobody is told. Its memory goes when the events at hand have been looked at. */
void ks_link_drop(ks_link *link) {
    unlink_idle(link);
    close(link->fd);
    link->fd = -1;
    link->busy = 0;
    link->over = NULL;
    link->backend->link_count--;
    link->fleet->held -= link->held;
    link->held = 0;
    link->next = link->fleet->dropped;
    link->fleet->dropped = link;
}

static ks_link *open_link(ks_backend *backend, const char **wrong, int *why) {
    const ks_place *place = &backend->place;
    const int one = 1;
    *why = 0;
    if (backend->link_count >= backend->roster->fleet->options.connections_max) {
        *wrong = "has as many connections as it may have";
        return NULL;
    }
    ks_link *link = calloc(1, sizeof(*link));
    if (!link) {
        *wrong = "cannot be asked for want of memory";
        return NULL;
    }
    link->fleet = backend->roster->fleet;
    link->backend = backend;
    link->fd = socket(place->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int connected =
        link->fd >= 0 ? connect(link->fd, (const struct sockaddr *)&place->address, place->address_bytes) : -1;
    if (connected < 0 && (link->fd < 0 || errno != EINPROGRESS)) {
        *wrong = "cannot be reached";
        *why = errno;
        if (link->fd >= 0) close(link->fd);
        free(link);
        return NULL;
    }
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    link->connecting = connected < 0;
    link->answer.body_max = link->fleet->options.answer_max;
    backend->link_count++;
    return link;
}

ks_link *ks_link_take(ks_backend *backend, int fresh, const char **wrong, int *why) {
    ks_link *link = fresh ? NULL : backend->idle;
    if (!link) return open_link(backend, wrong, why);
    unlink_idle(link);
    link->reused = 1;
    return link;
}

/* ---- Sending and receiving --------------------------------------------------------------------------------------- */

static void finish(ks_link *link) {
    void (*over)(ks_link *, void *) = link->over;
    link->busy = 0;
    link->over = NULL;
    if (over) over(link, link->context);
}

static void break_off(ks_link *link, const char *wrong, int why) {
    link->wrong = wrong;
    link->why = why;
    link->answer.keeps_alive = 0;
    finish(link);
}

/* 1: all was sent. 0: there is no room now. -1: it broke. */
static int send_rest(ks_link *link) {
    const size_t head = link->head.used, all = head + link->body_bytes;
    while (link->sent < all) {
        struct iovec parts[2];
        int count = 0;
        if (link->sent < head) parts[count++] = (struct iovec){link->head.bytes + link->sent, head - link->sent};
        const size_t from = link->sent > head ? link->sent - head : 0;
        if (link->body_bytes > from) {
            /* The body is only read. */
            char *body;
            memcpy(&body, &link->body, sizeof(body));
            parts[count++] = (struct iovec){body + from, link->body_bytes - from};
        }
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        const ssize_t sent = sendmsg(link->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return errno == EAGAIN ? 0 : -1;
        link->sent += (size_t)sent;
    }
    return 1;
}

/* Count what the answer takes; whether there was room for it. */
static int hold(ks_link *link) {
    ks_fleet *fleet = link->fleet;
    const size_t more = link->answer.body.used - link->held;
    fleet->held += more;
    link->held += more;
    return fleet->held <= fleet->options.answers_max;
}

static void receive(ks_link *link) {
    char bytes[READ_BYTES];
    for (int i = 0; i < READS_MAX; i++) {
        const ssize_t got = recv(link->fd, bytes, sizeof(bytes), 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && errno == EAGAIN) return;
        if (got < 0) {
            break_off(link, "broke the connection off", errno);
            return;
        }
        const size_t used = got ? ks_answer_feed(&link->answer, bytes, (size_t)got) : 0;
        if (!got) ks_answer_end(&link->answer);
        if (!hold(link)) {
            break_off(link, "answers at a time when no more answers can be held", 0);
            return;
        }
        if (link->answer.part == KS_ANSWER_WHOLE) {
            /* Bytes behind an answer belong to nothing that was asked. */
            if (used < (size_t)got || link->sent < link->head.used + link->body_bytes) link->answer.keeps_alive = 0;
            finish(link);
            return;
        }
        if (link->answer.part == KS_ANSWER_BAD) {
            break_off(link, link->answer.wrong, 0);
            return;
        }
    }
}

static void go_on(ks_link *link) {
    const int sent = send_rest(link);
    if (sent < 0) {
        /* It may have answered before it closed, such as that the body is too large. */
        const int why = errno;
        receive(link);
        if (link->busy) break_off(link, "broke the connection off", why);
        return;
    }
    watch(link, sent ? EPOLLIN | EPOLLRDHUP : EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

void ks_link_ask(ks_link *link, const char *body, size_t body_bytes, void (*over)(ks_link *link, void *context),
                 void *context) {
    ks_answer_begin(&link->answer);
    link->body = body;
    link->body_bytes = body_bytes;
    link->sent = 0;
    link->wrong = NULL;
    link->why = 0;
    link->over = over;
    link->context = context;
    link->busy = 1;
    if (link->connecting) {
        watch(link, EPOLLOUT);
        return;
    }
    /* What fails now is told when the loop comes to it, never within this call: whoever asks is not ready yet. */
    watch(link, send_rest(link) == 1 ? EPOLLIN | EPOLLRDHUP : EPOLLIN | EPOLLOUT | EPOLLRDHUP);
}

void ks_link_event(ks_link *link, uint32_t events) {
    if (link->fd < 0) return;
    if (!link->busy) { /* an idle one that says something is being closed, or is mad */
        ks_link_drop(link);
        return;
    }
    if (link->connecting) {
        int why = 0;
        socklen_t bytes = sizeof(why);
        getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &why, &bytes);
        if (why) {
            break_off(link, "cannot be reached", why);
            return;
        }
        link->connecting = 0;
        go_on(link);
        return;
    }
    if (events & EPOLLOUT) go_on(link);
    if (link->fd >= 0 && link->busy && events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) receive(link);
}

void ks_link_give(ks_link *link) {
    ks_backend *backend = link->backend;
    if (link->wrong || !link->answer.keeps_alive || !backend->roster->current ||
        backend->idle_count >= KS_IDLE_LINKS_MAX) {
        ks_link_drop(link);
        return;
    }
    link->fleet->held -= link->held;
    link->held = 0;
    link->since_ns = ks_now_ns();
    watch(link, EPOLLIN | EPOLLRDHUP);
    link->next = backend->idle;
    link->at = &backend->idle;
    if (link->next) link->next->at = &link->next;
    backend->idle = link;
    backend->idle_count++;
}

void ks_links_drop_idle(ks_backend *backend, uint64_t idle_since_ns) {
    for (ks_link *link = backend->idle, *next; link; link = next) {
        next = link->next;
        if (link->since_ns <= idle_since_ns) ks_link_drop(link);
    }
}
