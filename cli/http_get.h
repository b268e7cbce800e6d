/* SPDX-License-Identifier: Apache-2.0
 *
 * One GET of a server, for commands that look at one: over HTTP or HTTPS, a connection a call, within five seconds.
 * Redirections are not followed. */
#ifndef KITH_CLI_HTTP_GET_H
#define KITH_CLI_HTTP_GET_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_ANSWER_MAX (8u << 20)

struct http_target {
    bool tls;
    char host[256]; /* without the brackets of an IPv6 address */
    char port[6];
    char prefix[512]; /* of all paths: what stands behind the host in the URL, without a "/" at its end */
    char secret[256]; /* "": none */
    const char *ca;   /* a PEM file of those that may vouch for the server; NULL: those of the system */
};

struct http_answer {
    int status;
    char *body; /* ends in a NUL that does not count; to be freed */
    size_t body_bytes;
};

/* Whether a text is meant as the URL of a server. */
bool http_is_url(const char *text);
/* Whether the host is this machine, by its name. */
bool http_is_local(const struct http_target *target);
/* These return 0, or an exit code after a sentence on stderr. */
int http_target_parse(const char *url, struct http_target *target);
int http_secret_read(const char *path, struct http_target *target);
int http_get(const struct http_target *target, const char *path, struct http_answer *answer);

/* Take an answer apart that was read until the connection's end. false: it is none, or not whole. */
bool http_answer_parse(const char *bytes, size_t count, struct http_answer *answer);

/* A connection, plain or not: http_connection.c. */
struct http_connection;
int http_connect(const struct http_target *target, struct http_connection **connection);
/* Bytes that were sent or read, 0 at the end, -1: it broke, or the time was up. */
ptrdiff_t http_send(struct http_connection *connection, const char *bytes, size_t count);
ptrdiff_t http_receive(struct http_connection *connection, char *bytes, size_t room);
void http_disconnect(struct http_connection *connection); /* NULL is fine */

#endif
