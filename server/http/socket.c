/* SPDX-License-Identifier: Apache-2.0
 *
 * Sockets: the one that listens, and those that it brings. The first loop accepts and deals connections out, each to
 * the loop with the fewest. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "error/error.h"
#include "http/wire.h"

static int read_address(const char *text, uint16_t port, struct sockaddr_storage *address, socklen_t *size) {
    struct sockaddr_in *four = (struct sockaddr_in *)address;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)address;
    memset(address, 0, sizeof(*address));
    if (!text || strcmp(text, "localhost") == 0) text = "127.0.0.1";
    if (inet_pton(AF_INET, text, &four->sin_addr) == 1) {
        four->sin_family = AF_INET;
        four->sin_port = htons(port);
        *size = sizeof(*four);
        return 1;
    }
    if (inet_pton(AF_INET6, text, &six->sin6_addr) != 1) return 0;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons(port);
    *size = sizeof(*six);
    return 1;
}

static kith_status bind_new(ks_http *http, kith_error *error) {
    const char *text = http->options.address ? http->options.address : "127.0.0.1";
    const uint16_t port = http->options.port;
    struct sockaddr_storage address;
    socklen_t size;
    const int on = 1;
    if (!read_address(text, port, &address, &size))
        return ks_error(error, KITH_E_ARG,
                        "\"%s\" is no address to listen at: give an IPv4 or IPv6 address in numbers, or localhost",
                        text);
    http->listener = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (http->listener < 0) return ks_error(error, KITH_E_IO, "no socket can be made: %s", strerror(errno));
    http->own_listener = 1;
    /* A port whose last server's connections linger may be taken again; one that is listened at may not. */
    setsockopt(http->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(http->listener, (struct sockaddr *)&address, size) != 0 || listen(http->listener, SOMAXCONN) != 0) {
        if (errno == EADDRINUSE)
            return ks_error(error, KITH_E_BUSY,
                            "port %u at %s is taken: another program listens there; give another --port", port, text);
        if (errno == EACCES)
            return ks_error(error, KITH_E_IO, "port %u at %s may not be listened at: ports below 1024 need privileges",
                            port, text);
        return ks_error(error, KITH_E_IO, "port %u at %s cannot be listened at: %s", port, text, strerror(errno));
    }
    return KITH_OK;
}

/* A socket that somebody else has bound (socket activation). */
static kith_status take_given(ks_http *http, kith_error *error) {
    int listening = 0;
    socklen_t size = sizeof(listening);
    http->listener = http->options.socket;
    if (getsockopt(http->listener, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening)
        return ks_error(error, KITH_E_ARG, "file descriptor %d is no listening socket", http->listener);
    const int flags = fcntl(http->listener, F_GETFL);
    if (flags < 0 || fcntl(http->listener, F_SETFL, flags | O_NONBLOCK) != 0)
        return ks_error(error, KITH_E_IO, "the listening socket cannot be used: %s", strerror(errno));
    return KITH_OK;
}

kith_status ks_listen(ks_http *http, kith_error *error) {
    const kith_status status = http->options.socket >= 0 ? take_given(http, error) : bind_new(http, error);
    if (status != KITH_OK) return status;
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(http->listener, (struct sockaddr *)&address, &size) != 0)
        return ks_error(error, KITH_E_IO, "the listening socket has no address: %s", strerror(errno));
    if (address.ss_family == AF_INET) http->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6) http->port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return KITH_OK;
}

void ks_say_raw(int fd, int status) {
    char text[256];
    const char *reason = status == 408   ? "Request Timeout"
                         : status == 413 ? "Content Too Large"
                         : status == 503 ? "Service Unavailable"
                                         : "Error";
    const int length = snprintf(text, sizeof(text),
                                "HTTP/1.1 %d %s\r\nServer: kith\r\n%sContent-Length: 0\r\nConnection: close\r\n\r\n",
                                status, reason, status == 503 ? "Retry-After: 1\r\n" : "");
    if (send(fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return; /* nobody to be told */
}

static ks_loop *emptiest(ks_http *http, size_t *all) {
    ks_loop *best = &http->loops[0];
    *all = 0;
    for (unsigned i = 0; i < http->loop_count; i++) {
        const size_t count = atomic_load(&http->loops[i].count);
        *all += count;
        if (count < atomic_load(&best->count)) best = &http->loops[i];
    }
    return best;
}

static void refuse(ks_http *http, int fd) {
    atomic_fetch_add(&http->refused, 1);
    if (!http->tls) ks_say_raw(fd, 503);
    /* What the client has sent already is read, else closing would take the answer away again. */
    char bytes[4096];
    shutdown(fd, SHUT_WR);
    if (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) < 0) bytes[0] = 0;
    close(fd);
}

static void deal(ks_http *http, int fd, const struct sockaddr_storage *address, socklen_t size) {
    const int on = 1;
    size_t all;
    ks_loop *loop = emptiest(http, &all);
    ks_arrival *arrival = all < http->options.connections_max ? malloc(sizeof(*arrival)) : NULL;
    if (!arrival) {
        refuse(http, fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    *arrival = (ks_arrival){.fd = fd, .size = size, .address = *address};
    atomic_fetch_add(&loop->count, 1);
    pthread_mutex_lock(&loop->lock);
    arrival->next = loop->arrivals;
    loop->arrivals = arrival;
    pthread_mutex_unlock(&loop->lock);
    if (loop != &http->loops[0]) ks_loop_wake(loop);
}

int ks_deal(ks_http *http) {
    enum { AT_ONCE = 64 };
    for (int i = 0; i < AT_ONCE; i++) {
        struct sockaddr_storage address;
        socklen_t size = sizeof(address);
        const int fd = accept4(http->listener, (struct sockaddr *)&address, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            deal(http, fd, &address, size);
        } else if (errno == EAGAIN) {
            return 1;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            return 0;
        }
    }
    return 1;
}
