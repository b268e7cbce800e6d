/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of the server: a server with some routes on a free port, and a client that sends bytes as they are. */
#ifndef KITH_TESTS_HTTP_CLIENT_H
#define KITH_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../server/http/http.h"

enum { CLIENT_PATIENCE_MS = 20000 };

static inline int client_open(uint16_t port) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static inline void client_send(int fd, const void *bytes, size_t count) {
    for (size_t sent = 0; sent < count;) {
        const ssize_t some = send(fd, (const char *)bytes + sent, count - sent, MSG_NOSIGNAL);
        if (some <= 0) return; /* the server has closed it: the answer says why */
        sent += (size_t)some;
    }
}

static inline void client_say(int fd, const char *text) {
    client_send(fd, text, strlen(text));
}

/* Read until `enough` says so or the other side closes; the caller's to free, ended by a zero. */
static inline char *client_read_until(int fd, int (*enough)(const char *text, size_t count)) {
    size_t count = 0, room = 4096;
    char *text = malloc(room + 1);
    assert_non_null(text);
    text[0] = 0;
    while (!enough || !enough(text, count)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, CLIENT_PATIENCE_MS), 1);
        if (count == room) {
            text = realloc(text, (room *= 2) + 1);
            assert_non_null(text);
        }
        const ssize_t some = recv(fd, text + count, room - count, 0);
        if (some <= 0) break;
        count += (size_t)some;
        text[count] = 0;
    }
    return text;
}

/* Whether a whole answer with a Content-Length is there. */
static inline int client_is_whole(const char *text, size_t count) {
    const char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "\r\nContent-Length:");
    if (!body) return 0;
    const size_t bytes = length && length < body ? strtoul(length + 17, NULL, 10) : 0;
    return count >= (size_t)(body + 4 - text) + bytes;
}

static inline char *client_read(int fd) {
    return client_read_until(fd, client_is_whole);
}

/* Send bytes over a new connection and return all that comes until the other side closes or an answer is whole. */
static inline char *client_ask(uint16_t port, const char *request) {
    const int fd = client_open(port);
    client_say(fd, request);
    char *answer = client_read(fd);
    close(fd);
    return answer;
}

static inline int client_status(const char *answer) {
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 || strncmp(answer, "HTTP/1.0 ", 9) == 0 ? atoi(answer + 9) : 0;
}

static inline int client_asks(uint16_t port, const char *request) {
    char *answer = client_ask(port, request);
    const int status = client_status(answer);
    free(answer);
    return status;
}

#endif
