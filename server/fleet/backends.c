/* SPDX-License-Identifier: Apache-2.0
 *
 * Where backends are: lists and files of addresses, names looked up. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "error/error.h"
#include "fleet/inner.h"

enum { LIST_BYTES_MAX = 65536 };

static int is_port(const char *text, size_t bytes) {
    unsigned port = 0;
    if (!bytes || bytes > 5) return 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') return 0;
        port = 10 * port + (unsigned)(text[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

/* The end of the host in "name", "1.2.3.4" or "[::1]". 0: it is none. */
static size_t host_bytes(const char *text, size_t bytes) {
    size_t i = 0;
    if (bytes && text[0] == '[') {
        const char *end = memchr(text, ']', bytes);
        return end ? (size_t)(end - text) + 1 : 0;
    }
    while (i < bytes && ((text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z') ||
                         (text[i] >= '0' && text[i] <= '9') || strchr(".-_", text[i])))
        i++;
    return i;
}

int ks_place_parse(const char *url, size_t bytes, ks_place *place, char name[KS_URL_MAX], char port[8],
                   const char **wrong) {
    memset(place, 0, sizeof(*place));
    while (bytes && url[bytes - 1] == '/') bytes--;
    if (bytes >= KS_URL_MAX - INET6_ADDRSTRLEN - 4) {
        *wrong = "is too long";
        return 0;
    }
    if (bytes >= 8 && strncasecmp(url, "https://", 8) == 0) {
        *wrong = "asks for TLS, which is not spoken to other servers: put them on a network of their own";
        return 0;
    }
    if (bytes < 8 || strncasecmp(url, "http://", 7) != 0) {
        *wrong = "does not begin with http://";
        return 0;
    }
    const char *host = url + 7;
    const size_t left = bytes - 7, length = host_bytes(host, left);
    const int bracket = length && host[0] == '[';
    if (!length || (left > length && (host[length] != ':' || !is_port(host + length + 1, left - length - 1)))) {
        *wrong = "is not http://HOST:PORT";
        return 0;
    }
    memcpy(place->url, url, bytes);
    memcpy(place->host, host, left);
    memcpy(name, host + bracket, length - 2 * (size_t)bracket);
    name[length - 2 * (size_t)bracket] = 0;
    snprintf(port, 8, "%.*s", left > length ? (int)(left - length - 1) : 2, left > length ? host + length + 1 : "80");
    return 1;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static int is_known(const ks_place *places, size_t count, const ks_place *place) {
    for (size_t i = 0; i < count; i++)
        if (places[i].address_bytes == place->address_bytes &&
            memcmp(&places[i].address, &place->address, place->address_bytes) == 0)
            return 1;
    return 0;
}

static kith_status add_all(const struct addrinfo *found, const ks_place *like, const char *port, ks_place *places,
                           size_t *count, kith_error *error) {
    const int several = found && found->ai_next;
    for (; found; found = found->ai_next) {
        ks_place place = *like;
        char text[INET6_ADDRSTRLEN] = "";
        if (found->ai_addrlen > sizeof(place.address)) continue;
        memcpy(&place.address, found->ai_addr, found->ai_addrlen);
        place.address_bytes = found->ai_addrlen;
        if (is_known(places, *count, &place)) continue;
        if (*count == KS_BACKENDS_MAX)
            return ks_error(error, KITH_E_LIMIT, "There are more than %d servers in the list.", KS_BACKENDS_MAX);
        if (several) {
            getnameinfo(found->ai_addr, found->ai_addrlen, text, sizeof(text), NULL, 0, NI_NUMERICHOST);
            snprintf(place.url, sizeof(place.url), strchr(text, ':') ? "http://[%s]:%s" : "http://%s:%s", text, port);
        }
        places[(*count)++] = place;
    }
    return KITH_OK;
}

static kith_status add(const char *url, size_t bytes, ks_place *places, size_t *count, kith_error *error) {
    ks_place place;
    char name[KS_URL_MAX], port[8];
    const char *wrong = NULL;
    const int shown = bytes < KS_URL_MAX ? (int)bytes : KS_URL_MAX;
    if (!ks_place_parse(url, bytes, &place, name, port, &wrong))
        return ks_error(error, KITH_E_ARG, "The server \"%.*s\" %s.", shown, url, wrong);
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    const int failed = getaddrinfo(name, port, &hints, &found);
    if (failed)
        return ks_error(error, KITH_E_NOTFOUND, "The server \"%.*s\" has no address: %s.", shown, url,
                        gai_strerror(failed));
    const kith_status status = add_all(found, &place, port, places, count, error);
    freeaddrinfo(found);
    return status;
}

/* ---- Lists ------------------------------------------------------------------------------------------------------- */

/* Everything between commas, blanks and ends of lines; "#" begins a remark up to the end of its line. */
kith_status ks_places_find(const char *text, ks_place *places, size_t *count, kith_error *error) {
    *count = 0;
    while (*text) {
        text += strspn(text, ", \t\r\n");
        if (*text == '#') {
            text += strcspn(text, "\n");
            continue;
        }
        const size_t bytes = strcspn(text, ", \t\r\n#");
        if (!bytes) continue;
        const kith_status status = add(text, bytes, places, count, error);
        if (status != KITH_OK) return status;
        text += bytes;
    }
    return *count ? KITH_OK : ks_error(error, KITH_E_ARG, "There is no server in the list.");
}

char *ks_places_read(const char *path, kith_error *error) {
    FILE *file = fopen(path, "rbe");
    char *text = file ? malloc(LIST_BYTES_MAX + 1) : NULL;
    const int why = errno;
    const size_t got = text ? fread(text, 1, LIST_BYTES_MAX + 1, file) : 0;
    int fine = 0;
    if (!file) {
        ks_error(error, why == ENOENT ? KITH_E_NOTFOUND : KITH_E_IO, "%s cannot be opened: %s.", path, strerror(why));
    } else if (!text) {
        ks_error(error, KITH_E_NOMEM, "There is no memory for reading %s.", path);
    } else if (ferror(file)) {
        ks_error(error, KITH_E_IO, "%s cannot be read.", path);
    } else if (got > LIST_BYTES_MAX) {
        ks_error(error, KITH_E_LIMIT, "%s has more than 64 KiB, which is no list of backends.", path);
    } else if (memchr(text, 0, got)) {
        ks_error(error, KITH_E_FORMAT, "%s has a zero in it: it is no text.", path);
    } else {
        fine = 1;
        text[got] = 0;
    }
    if (file) fclose(file);
    if (fine) return text;
    free(text);
    return NULL;
}
