/* SPDX-License-Identifier: Apache-2.0
 *
 * One GET of a server (http_get.h). */
#define _GNU_SOURCE
#include "http_get.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

/* ---- URLs and secrets -------------------------------------------------------------------------------------------- */

static const char *behind_scheme(const char *text) {
    if (strncasecmp(text, "http://", 7) == 0) return text + 7;
    return strncasecmp(text, "https://", 8) == 0 ? text + 8 : NULL;
}

bool http_is_url(const char *text) {
    return behind_scheme(text) != NULL;
}

bool http_is_local(const struct http_target *target) {
    return strcmp(target->host, "localhost") == 0 || strncmp(target->host, "127.", 4) == 0 ||
           strcmp(target->host, "::1") == 0;
}

static bool take(char *to, size_t room, const char *from, size_t count) {
    if (count >= room) return false;
    memcpy(to, from, count);
    to[count] = 0;
    return true;
}

/* What may stand in a line of the request: nothing that would end it. */
static bool is_printable(const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text <= 0x20 || (unsigned char)*text >= 0x7f) return false;
    return true;
}

static bool is_port(const char *text) {
    uint64_t number;
    return parse_number(text, strlen(text), &number) && number > 0 && number < 65536;
}

int http_target_parse(const char *url, struct http_target *target) {
    const char *host = behind_scheme(url);
    memset(target, 0, sizeof(*target));
    if (!host) return fail(EXIT_USAGE, "\"%s\" is no URL: http://host:port or https://host:port was expected", url);
    target->tls = (url[4] | 0x20) == 's';
    const size_t length = strcspn(host, "/?#");
    const char *path = host + length, *colon = memrchr(host, ':', length);
    bool good = is_printable(url) && !memchr(host, '@', length) && !strpbrk(path, "?#");
    size_t host_bytes = length;
    if (*host == '[') {
        const char *end = memchr(host, ']', length);
        good = good && end && (end + 1 == path || end[1] == ':');
        colon = good && end + 1 < path ? end + 1 : NULL;
        host_bytes = good ? (size_t)(end - host) - 1 : 0;
        host++;
    } else if (colon) {
        host_bytes = (size_t)(colon - host);
    }
    size_t path_bytes = strlen(path);
    while (path_bytes && path[path_bytes - 1] == '/') path_bytes--;
    good = good && host_bytes && take(target->host, sizeof(target->host), host, host_bytes) &&
           take(target->prefix, sizeof(target->prefix), path, path_bytes);
    if (good && colon) {
        good = take(target->port, sizeof(target->port), colon + 1, (size_t)(path - colon) - 1) && is_port(target->port);
    } else {
        strcpy(target->port, target->tls ? "443" : "80");
    }
    return good ? 0 : fail(EXIT_USAGE, "\"%s\" is no URL of a server: http://host:port was expected", url);
}

int http_secret_read(const char *path, struct http_target *target) {
    FILE *file = fopen(path, "re");
    if (!file) return fail(errno == ENOENT ? EXIT_ABSENT : EXIT_STORAGE, "%s: %s", path, strerror(errno));
    char *read = fgets(target->secret, sizeof(target->secret), file);
    fclose(file);
    const size_t length = read ? strcspn(target->secret, "\r\n") : 0;
    const bool whole = read && (target->secret[length] || length < sizeof(target->secret) - 1);
    target->secret[length] = 0;
    if (length && whole && is_printable(target->secret)) return 0;
    target->secret[0] = 0;
    return fail(EXIT_INPUT, "%s: a key was expected in its first line, of printable characters without spaces", path);
}

/* ---- Answers ----------------------------------------------------------------------------------------------------- */

/* The value of a header between the first line and the empty one; NULL: it is not there. */
static const char *header(const char *head, const char *end, const char *name) {
    const size_t bytes = strlen(name);
    for (const char *line = head; (line = memmem(line, (size_t)(end - line), "\r\n", 2)) != NULL && line < end;) {
        line += 2;
        if ((size_t)(end - line) <= bytes || strncasecmp(line, name, bytes) != 0 || line[bytes] != ':') continue;
        line += bytes + 1;
        while (*line == ' ' || *line == '\t') line++;
        return line;
    }
    return NULL;
}

/* Chunks, one behind the other, become what they carry, in place. SIZE_MAX: they do not end, or are none. */
static size_t join_chunks(char *body, size_t count) {
    size_t at = 0, used = 0;
    for (;;) {
        char *end;
        char *line_end = memmem(body + at, count - at, "\r\n", 2);
        if (!line_end || at == count || !strchr("0123456789abcdefABCDEF", body[at])) return SIZE_MAX;
        const unsigned long long size = strtoull(body + at, &end, 16);
        at = (size_t)(line_end - body) + 2;
        if (end > line_end || size > count - at) return SIZE_MAX;
        if (size == 0) return used;
        memmove(body + used, body + at, (size_t)size);
        used += (size_t)size;
        at += (size_t)size;
        if (count - at < 2 || memcmp(body + at, "\r\n", 2) != 0) return SIZE_MAX;
        at += 2;
    }
}

bool http_answer_parse(const char *bytes, size_t count, struct http_answer *answer) {
    const char *end = memmem(bytes, count, "\r\n\r\n", 4);
    int status = 0;
    if (!end || strncmp(bytes, "HTTP/1.", 7) != 0 || sscanf(bytes + 7, "%*1[01] %3d", &status) != 1 || status < 100)
        return false;
    const char *length = header(bytes, end + 2, "Content-Length");
    const char *coding = header(bytes, end + 2, "Transfer-Encoding");
    size_t body_bytes = count - (size_t)(end + 4 - bytes);
    char *body = malloc(body_bytes + 1);
    if (!body) return false;
    memcpy(body, end + 4, body_bytes);
    body[body_bytes] = 0;
    if (coding) {
        body_bytes = strncasecmp(coding, "chunked", 7) == 0 ? join_chunks(body, body_bytes) : SIZE_MAX;
    } else if (length) {
        const unsigned long long said = strtoull(length, NULL, 10);
        body_bytes = said <= body_bytes ? (size_t)said : SIZE_MAX;
    }
    if (body_bytes == SIZE_MAX) {
        free(body);
        return false;
    }
    body[body_bytes] = 0;
    *answer = (struct http_answer){status, body, body_bytes};
    return true;
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

static int send_request(const struct http_target *target, const char *path, struct http_connection *connection) {
    char request[2048];
    const bool bare = strchr(target->host, ':') != NULL; /* an IPv6 address */
    const int count =
        snprintf(request, sizeof(request),
                 "GET %s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\nUser-Agent: kith/%s\r\n"
                 "Accept: application/json\r\nConnection: close\r\n%s%s%s\r\n",
                 target->prefix, path, bare ? "[" : "", target->host, bare ? "]" : "", target->port, kith_version(),
                 *target->secret ? "Authorization: Bearer " : "", target->secret, *target->secret ? "\r\n" : "");
    if (count < 0 || (size_t)count >= sizeof(request)) return fail(EXIT_USAGE, "the URL is too long");
    if (http_send(connection, request, (size_t)count) >= 0) return 0;
    return fail(EXIT_OTHER, "%s took no request: %s", target->host, strerror(errno));
}

/* All until the connection's end, or until there is too much of it. */
static char *read_all(struct http_connection *connection, size_t *count) {
    size_t room = 0, used = 0;
    char *bytes = NULL;
    for (ptrdiff_t got = 1; got > 0; used += (size_t)got) {
        if (used == room) {
            room = room ? room * 2 : 16384;
            char *larger = room <= HTTP_ANSWER_MAX ? realloc(bytes, room + 1) : NULL;
            if (!larger) break;
            bytes = larger;
        }
        got = http_receive(connection, bytes + used, room - used);
        if (got <= 0) {
            *count = used;
            bytes[used] = 0;
            if (got == 0) return bytes;
            break;
        }
    }
    free(bytes);
    return NULL;
}

int http_get(const struct http_target *target, const char *path, struct http_answer *answer) {
    struct http_connection *connection = NULL;
    size_t count = 0;
    int failed = http_connect(target, &connection);
    if (!failed) failed = send_request(target, path, connection);
    if (!failed) {
        char *bytes = read_all(connection, &count);
        if (!bytes || !http_answer_parse(bytes, count, answer))
            failed = fail(EXIT_OTHER, "%s, port %s, gave no whole answer in HTTP/1.1", target->host, target->port);
        free(bytes);
    }
    http_disconnect(connection);
    return failed;
}
