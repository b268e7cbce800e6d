/* SPDX-License-Identifier: Apache-2.0
 *
 * Who is let in: keys of calls, and whether the server may be reached from other machines at all. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "serve/inner.h"

/* Who needs no key, when there are keys. */
static const ks_key nobody = {.name = "nobody", .role = KS_NOBODY, .share = 1};

/* Pages that somebody has open may send calls from their browser to where no stranger reaches. Browsers say whose page
 * it was: only ours may. */
static int is_foreign_page(const ks_call *call) {
    const char *origin = ks_call_header(call, "Origin"), *host = ks_call_header(call, "Host");
    if (!origin) return 0;
    const char *place = strstr(origin, "://");
    return !place || !host || strcasecmp(place + 3, host) != 0;
}

/* Where no key is asked for, a page that had its own name lead to this machine would pass as ours: names of this machine
 * are its numbers and "localhost". */
static int is_foreign_name(const ks_serve_state *state, const ks_call *call) {
    const char *host = ks_call_header(call, "Host");
    char name[KS_ADDRESS_BYTES];
    struct in6_addr number;
    if (state->options.keys_path || state->options.insecure || !host) return 0;
    const int bracket = *host == '[';
    const size_t count = strcspn(host + bracket, bracket ? "]" : ":");
    if (count >= sizeof(name)) return 1;
    snprintf(name, sizeof(name), "%.*s", (int)count, host + bracket);
    return strcasecmp(name, "localhost") != 0 && inet_pton(AF_INET, name, &number) != 1 &&
           inet_pton(AF_INET6, name, &number) != 1;
}

int ks_serve_authenticate(ks_call *call) {
    static const char *const roles[] = {"none", "read", "write", "admin"};
    ks_serve_state *state = call->app;
    if (is_foreign_page(call)) {
        ks_call_fail(call, 403, "A page of another origin asks: only this server's own may.");
        return 403;
    }
    if (is_foreign_name(state, call)) {
        ks_call_fail(call, 403,
                     "Without keys this server answers to localhost and to numeric addresses only: give it "
                     "--keys, or --insecure when something before it sees to who asks.");
        return 403;
    }
    const char *secret = ks_keys_secret(call);
    const ks_role needed = call->route->role;
    call->key = ks_keys_find(atomic_load_explicit(&state->keys, memory_order_acquire), secret);
    if (!call->key && needed == KS_NOBODY) call->key = &nobody;
    if (!call->key) {
        ks_call_fail(call, 401, "%s",
                     secret ? "The key is none of this server's."
                            : "A key is needed: send \"Authorization: Bearer <key>\" or \"api-key: <key>\".");
        return 401;
    }
    if (call->key->role >= needed) return 0;
    ks_call_fail(call, 403, "The role of the key is %s; this call needs %s.", roles[call->key->role], roles[needed]);
    return 403;
}

static int is_loopback(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_UNIX) return 1;
    if (address->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return address->ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

int ks_serve_address_of(int socket, char text[KS_ADDRESS_BYTES], unsigned *port) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(socket, (struct sockaddr *)&address, &size) != 0) return 0;
    const struct sockaddr_in *four = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&address;
    const int is_four = address.ss_family == AF_INET;
    if (!is_four && address.ss_family != AF_INET6) return 0;
    if (!inet_ntop(address.ss_family, is_four ? (const void *)&four->sin_addr : (const void *)&six->sin6_addr, text,
                   KS_ADDRESS_BYTES))
        return 0;
    *port = ntohs(is_four ? four->sin_port : six->sin6_port);
    return 1;
}

/* An address that cannot be read is http's to refuse. */
static int is_local(const ks_serve_options *options, int socket) {
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof(address);
    const char *text = options->address;
    if (socket >= 0) return getsockname(socket, (struct sockaddr *)&address, &size) == 0 && is_loopback(&address);
    if (!text || strcmp(text, "localhost") == 0) return 1;
    if (inet_pton(AF_INET, text, &((struct sockaddr_in *)&address)->sin_addr) == 1) {
        address.ss_family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &((struct sockaddr_in6 *)&address)->sin6_addr) == 1) {
        address.ss_family = AF_INET6;
    } else {
        return 1;
    }
    return is_loopback(&address);
}

kith_status ks_serve_is_safe(const ks_serve_options *options, int socket, kith_error *error) {
    const int keys = options->keys_path != NULL, tls = options->certificate != NULL;
    if (options->insecure || (keys && tls) || is_local(options, socket)) return KITH_OK;
    if (error) {
        error->status = KITH_E_ARG;
        snprintf(
            error->text, sizeof(error->text),
            "%s is reached from other machines: give %s%s%s, or --insecure when something before the server sees to "
            "that",
            options->address ? options->address : "the socket", keys ? "" : "--keys FILE (kith key makes keys)",
            keys || tls ? "" : " and ", tls ? "" : "--tls-cert FILE and --tls-key FILE");
    }
    return KITH_E_ARG;
}
