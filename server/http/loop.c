/* SPDX-License-Identifier: Apache-2.0
 *
 * A loop: it waits, takes what has come, has the turn answer what was queued, and sends.
 *
 * Its epoll watches libmicrohttpd's (which holds the sockets), an eventfd by which other threads wake it, for the first
 * loop the listening socket, and each connection once more, edge by edge, for two things that libmicrohttpd does not
 * tell: that bytes of a request have begun to come, and that the client of a call that is out has gone.
 *
 * Requests that come slowly. A connection is "coming" from its beginning, and then from the first bytes of a request,
 * until the request is whole; those that are over the limit are told 408 and shut down. Whether bytes have come at all
 * is asked of the kernel then: an edge may be that of bytes which libmicrohttpd had read before we were told, and which
 * belonged to the request that is over. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "http/wire.h"

enum { EVENTS = 128, SWEEP_MS = 100, SWEEP_MAX = 64, PASSES = 4 };

/* ---- Connections */

void ks_connection_coming(ks_connection *connection, ks_loop *loop, uint64_t now_ns) {
    if (connection->coming) return;
    connection->coming = 1;
    connection->since_ns = now_ns;
    connection->coming_next = NULL;
    connection->coming_prev = loop->coming_last;
    if (loop->coming_last) {
        loop->coming_last->coming_next = connection;
    } else {
        loop->coming_first = connection;
    }
    loop->coming_last = connection;
}

void ks_connection_came(ks_connection *connection, ks_loop *loop) {
    if (!connection->coming) return;
    connection->coming = 0;
    if (connection->coming_prev) {
        connection->coming_prev->coming_next = connection->coming_next;
    } else {
        loop->coming_first = connection->coming_next;
    }
    if (connection->coming_next) {
        connection->coming_next->coming_prev = connection->coming_prev;
    } else {
        loop->coming_last = connection->coming_prev;
    }
}

static void started(ks_loop *loop, struct MHD_Connection *mhd, void **context) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    ks_connection *connection = info ? calloc(1, sizeof(*connection)) : NULL;
    ks_tls_dress(loop->http->tls, mhd);
    if (!connection) return; /* its requests are refused for want of a context */
    connection->mhd = mhd;
    connection->fd = info->connect_fd;
    connection->next = loop->connections;
    if (connection->next) connection->next->prev = connection;
    loop->connections = connection;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = connection};
    /* Without it a slow client is only bounded by the time that it may be silent. */
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_ADD, connection->fd, &event);
    /* Its first bytes may be read before our epoll is asked for them, which then tells nothing. */
    ks_connection_coming(connection, loop, ks_now_ns());
    *context = connection;
}

static void closed(ks_loop *loop, ks_connection *connection) {
    ks_connection_came(connection, loop);
    for (ks_connection **at = &loop->half_first; *at; at = &(*at)->half_next)
        if (*at == connection) {
            *at = connection->half_next;
            break;
        }
    if (connection->next) connection->next->prev = connection->prev;
    if (connection->prev) {
        connection->prev->next = connection->next;
    } else {
        loop->connections = connection->next;
    }
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
    free(connection);
}

void ks_connection_notice(void *context, struct MHD_Connection *mhd, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
    ks_loop *loop = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        started(loop, mhd, socket_context);
        return;
    }
    if (*socket_context) closed(loop, *socket_context);
    *socket_context = NULL;
    atomic_fetch_sub(&loop->count, 1);
}

/* Whether bytes have come since the connection's last request was over. */
static int has_begun(const ks_connection *connection, uint64_t now_ns) {
    const uint64_t slack_ns = 20000000; /* the kernel counts milliseconds, and ticks */
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (connection->wire || getsockopt(connection->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 1;
    if (!connection->finished_ns) return info.tcpi_bytes_received > 0;
    const uint64_t ago_ns = (uint64_t)info.tcpi_last_data_recv * 1000000;
    return ago_ns < now_ns && now_ns - ago_ns > connection->finished_ns + slack_ns;
}

/* A long body that comes at a fair rate is given time anew: too slow is what holds a place for little. */
static int is_getting_on(const ks_loop *loop, ks_connection *connection) {
    enum { BYTES_MS = 64 };
    const struct ks_wire *wire = connection->wire;
    if (!wire || wire->stage != KS_STAGE_BODY) return 0;
    const uint64_t more = wire->call.body_bytes - connection->counted_bytes;
    connection->counted_bytes = wire->call.body_bytes;
    return more >= loop->http->options.request_ms * BYTES_MS;
}

static void too_slow(ks_loop *loop, ks_connection *connection) {
    if (connection->wire) connection->wire->call.reply.status = 408;
    if (!loop->http->tls) ks_say_raw(connection->fd, 408);
    shutdown(connection->fd, SHUT_RDWR);
}

static uint64_t request_ns(const ks_loop *loop) {
    return loop->http->options.request_ms * 1000000;
}

/* Some at a time: very many connections that were opened together and said nothing are over the limit together, and the
 * kernel is asked of each. */
static void sweep(ks_loop *loop, uint64_t now_ns) {
    for (int i = 0; i < SWEEP_MAX && loop->coming_first; i++) {
        if (loop->coming_first->since_ns + request_ns(loop) > now_ns) return;
        ks_connection *connection = loop->coming_first;
        ks_connection_came(connection, loop);
        if (is_getting_on(loop, connection)) {
            ks_connection_coming(connection, loop, now_ns);
        } else if (has_begun(connection, now_ns)) {
            too_slow(loop, connection);
        }
    }
}

/* What is no request yet is not waited for. (With TLS, bytes that came may have been those of a handshake.) */
static void close_idle(ks_loop *loop) {
    const uint64_t now_ns = ks_now_ns();
    for (ks_connection *connection = loop->connections; connection; connection = connection->next) {
        const int begun = connection->coming && !loop->http->tls && has_begun(connection, now_ns);
        if (!connection->wire && !begun) shutdown(connection->fd, SHUT_RDWR);
    }
}

/* ---- Waiting */

void ks_loop_wake(ks_loop *loop) {
    const uint64_t one = 1;
    if (atomic_exchange(&loop->woken, 1) == 0 && write(loop->event, &one, sizeof(one)) < 0) {
        /* Full (EAGAIN): it is awake. */
    }
}

static void woken(ks_loop *loop) {
    uint64_t count;
    if (read(loop->event, &count, sizeof(count)) < 0) count = 0;
    /* From here on somebody who puts something into the inbox writes again. */
    atomic_store(&loop->woken, 0);
}

void ks_connection_read_end(ks_connection *connection) {
    if (connection->half) shutdown(connection->fd, SHUT_RD);
}

static void noticed(ks_loop *loop, ks_connection *connection, uint32_t events, uint64_t now_ns) {
    struct ks_wire *wire = connection->wire;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        if (wire) atomic_store_explicit(&wire->gone, 1, memory_order_relaxed);
        if (!connection->half) {
            connection->half = 1;
            connection->half_next = loop->half_first;
            loop->half_first = connection;
        }
    }
    if ((events & EPOLLIN) && !wire) ks_connection_coming(connection, loop, now_ns);
}

/* Those whose end came: what came before it has been read. One whose call is out is told when that is over. */
static void read_ends(ks_loop *loop) {
    while (loop->half_first) {
        ks_connection *connection = loop->half_first;
        loop->half_first = connection->half_next;
        connection->half_next = NULL;
        if (!connection->wire || connection->wire->stage < KS_STAGE_OUT) ks_connection_read_end(connection);
    }
}

static void rest_listening(ks_loop *loop, uint64_t now_ns) {
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, loop->http->listener, NULL);
    loop->listen_again_ns = now_ns + SWEEP_MS * 1000000u;
}

static void listen_again(ks_loop *loop, uint64_t now_ns) {
    if (!loop->listen_again_ns || now_ns < loop->listen_again_ns || atomic_load(&loop->http->draining)) return;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = loop->http};
    loop->listen_again_ns = 0;
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->http->listener, &event) != 0) loop->listen_again_ns = now_ns + 1;
}

static void look(ks_loop *loop, const struct epoll_event *events, int count) {
    const uint64_t now_ns = count ? ks_now_ns() : 0;
    int connections = 0;
    for (int i = 0; i < count; i++) {
        void *what = events[i].data.ptr;
        if (what == &loop->event) {
            woken(loop);
        } else if (what == loop->http) {
            if (!ks_deal(loop->http)) rest_listening(loop, now_ns);
        } else if (what != loop->daemon) {
            noticed(loop, what, events[i].events, now_ns);
            connections++;
        }
    }
    loop->quiet = connections <= 1;
}

/* How long the loop may sleep, in nanoseconds, when its turn asked for another one after so long. */
static uint64_t patience(ks_loop *loop, uint64_t turn_ns) {
    MHD_UNSIGNED_LONG_LONG daemon_ms = 0;
    uint64_t ns = turn_ns;
    if (loop->ended) return 0;
    if (MHD_get_timeout(loop->daemon, &daemon_ms) == MHD_YES && daemon_ms < ns / 1000000) ns = daemon_ms * 1000000;
    if (loop->coming_first) {
        const uint64_t now_ns = ks_now_ns(), over_ns = loop->coming_first->since_ns + request_ns(loop);
        const uint64_t left_ns = over_ns > now_ns ? over_ns - now_ns : 0;
        if (ns > left_ns) ns = left_ns;
    }
    const int often = loop->listen_again_ns || atomic_load(&loop->http->draining);
    return often && ns > SWEEP_MS * 1000000u ? SWEEP_MS * 1000000u : ns;
}

static int wait_for(ks_loop *loop, struct epoll_event *events, uint64_t ns) {
    if (ns == UINT64_MAX) return epoll_wait(loop->epoll, events, EVENTS, -1);
    const struct timespec limit = {(time_t)(ns / 1000000000), (long)(ns % 1000000000)};
    const int count = epoll_pwait2(loop->epoll, events, EVENTS, &limit, NULL);
    if (count >= 0 || errno != ENOSYS) return count;
    const uint64_t ms = (ns + 999999) / 1000000;
    return epoll_wait(loop->epoll, events, EVENTS, ms > INT32_MAX ? INT32_MAX : (int)ms); /* before Linux 5.11 */
}

static void adopt(ks_loop *loop) {
    pthread_mutex_lock(&loop->lock);
    ks_arrival *arrival = loop->arrivals;
    loop->arrivals = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (arrival) {
        ks_arrival *next = arrival->next;
        if (atomic_load(&loop->http->draining)) {
            close(arrival->fd);
            atomic_fetch_sub(&loop->count, 1);
        } else if (MHD_add_connection(loop->daemon, arrival->fd, (struct sockaddr *)&arrival->address, arrival->size) !=
                   MHD_YES) {
            atomic_fetch_sub(&loop->count, 1); /* it has closed the socket */
        }
        free(arrival);
        arrival = next;
    }
}

/* The port is free from here on; a socket that was handed to us is its giver's. */
static void stop_listening(ks_loop *loop) {
    ks_http *http = loop->http;
    if (loop->number != 0 || loop->deaf) return;
    loop->deaf = 1;
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, http->listener, NULL);
    if (!http->own_listener) return;
    close(http->listener);
    http->own_listener = 0;
}

/* Whether the loop is done: nobody listens to it any more, and no call is out. */
static int is_over(ks_loop *loop) {
    if (!atomic_load(&loop->http->draining)) return 0;
    stop_listening(loop);
    close_idle(loop); /* also where the time to drain was over before this thread ran */
    if (atomic_load(&loop->http->stopping)) return loop->out == 0;
    return loop->out == 0 && !loop->connections;
}

/* Let libmicrohttpd read, call handlers and send, and the turn answer what handlers queued: its answers are handed over
 * and sent by the passes after it. Returns in how long the turn wants another one. */
static uint64_t work(ks_loop *loop) {
    const ks_http_options *options = &loop->http->options;
    uint64_t turn_ns = UINT64_MAX;
    int resumed = 0; /* connections that libmicrohttpd looks at in its next run, of which its timeout says nothing */
    for (int pass = 0; pass < PASSES; pass++) {
        MHD_UNSIGNED_LONG_LONG daemon_ms = 1;
        loop->handed = 0;
        MHD_run(loop->daemon);
        if (options->turn && (pass == 0 || loop->handed)) turn_ns = options->turn(options->app, loop->number);
        loop->quiet = 0; /* what came during the turn is yet to be noticed */
        resumed = ks_take_ended(loop);
        if (!resumed && (MHD_get_timeout(loop->daemon, &daemon_ms) != MHD_YES || daemon_ms)) break;
    }
    return resumed ? 0 : turn_ns;
}

void *ks_loop_run(void *context) {
    ks_loop *loop = context;
    struct epoll_event events[EVENTS];
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    loop->self = pthread_self();
    uint64_t turn_ns = UINT64_MAX;
    while (!is_over(loop)) {
        const int count = wait_for(loop, events, patience(loop, turn_ns));
        look(loop, events, count > 0 ? count : 0);
        adopt(loop);
        ks_take_ended(loop);
        turn_ns = work(loop);
        read_ends(loop);
        if (loop->coming_first || loop->listen_again_ns) {
            const uint64_t now_ns = ks_now_ns();
            sweep(loop, now_ns);
            listen_again(loop, now_ns);
        }
    }
    return NULL;
}

/* ---- Its beginning and end */

static void log_nothing(void *context, const char *format, va_list values) {
    (void)context, (void)format, (void)values;
}

static size_t keep_escapes(void *context, struct MHD_Connection *mhd, char *text) {
    (void)context, (void)mhd;
    return strlen(text);
}

static struct MHD_Daemon *start_daemon(ks_loop *loop) {
    /* Half of a connection's memory is its first read buffer: a JSON body with a vector of 384 numbers fits. */
    enum { CONNECTION_BYTES = 20480, TLS_ITEMS = 8 };
    const ks_http *http = loop->http;
    struct MHD_OptionItem tls[TLS_ITEMS];
    const size_t items = ks_tls_options(http->tls, tls, TLS_ITEMS - 1);
    tls[items] = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
    const unsigned idle_s = (unsigned)((http->options.idle_ms + 999) / 1000);
    const unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ERROR_LOG |
                           (http->tls ? MHD_USE_TLS : 0u);
    return MHD_start_daemon(
        flags, 0, NULL, NULL, ks_request, loop, MHD_OPTION_EXTERNAL_LOGGER, log_nothing, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)http->options.connections_max, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_BYTES, MHD_OPTION_CONNECTION_TIMEOUT, idle_s, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_URI_LOG_CALLBACK, ks_request_line, loop,
        MHD_OPTION_UNESCAPE_CALLBACK, keep_escapes, NULL, MHD_OPTION_NOTIFY_COMPLETED, ks_request_over, loop,
        MHD_OPTION_NOTIFY_CONNECTION, ks_connection_notice, loop, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
}

static int watch(ks_loop *loop, int fd, void *what) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    return epoll_ctl(loop->epoll, EPOLL_CTL_ADD, fd, &event);
}

kith_status ks_loop_open(ks_loop *loop, kith_error *error) {
    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll >= 0 && loop->event >= 0) loop->daemon = start_daemon(loop);
    const union MHD_DaemonInfo *info =
        loop->daemon ? MHD_get_daemon_info(loop->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    if (!info || watch(loop, info->epoll_fd, loop->daemon) != 0 || watch(loop, loop->event, &loop->event) != 0 ||
        (loop->number == 0 && watch(loop, loop->http->listener, loop->http) != 0)) {
        if (error) {
            error->status = KITH_E_IO;
            snprintf(error->text, sizeof(error->text), "loop %u of the server cannot be made: %s", loop->number,
                     strerror(errno));
        }
        return KITH_E_IO;
    }
    return KITH_OK;
}

void ks_loop_close(ks_loop *loop) {
    if (loop->daemon) MHD_stop_daemon(loop->daemon);
    while (loop->arrivals) {
        ks_arrival *next = loop->arrivals->next;
        close(loop->arrivals->fd);
        free(loop->arrivals);
        loop->arrivals = next;
    }
    ks_wires_free(loop);
    if (loop->event >= 0) close(loop->event);
    if (loop->epoll >= 0) close(loop->epoll);
    pthread_mutex_destroy(&loop->lock);
}
