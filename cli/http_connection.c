/* SPDX-License-Identifier: Apache-2.0
 *
 * A connection to a server, with TLS by GnuTLS where the URL asks for it: the certificate must be of the host that was
 * named, and be vouched for by somebody that the system or --ca trusts. */
#define _GNU_SOURCE
#include "http_get.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "command.h"

enum { LIMIT_MS = 5000 };

struct http_connection {
    int fd;
    uint64_t deadline_ns;
    gnutls_session_t session; /* NULL: no TLS */
    gnutls_certificate_credentials_t credentials;
};

/* ---- Plain ------------------------------------------------------------------------------------------------------- */

/* Wait until the socket is ready, as long as there is time and nobody interrupts. */
static bool wait_ready(const struct http_connection *connection, short events) {
    const uint64_t now = now_ns();
    struct pollfd ready = {.fd = connection->fd, .events = events};
    if (now >= connection->deadline_ns) {
        errno = ETIMEDOUT;
        return false;
    }
    const int count = poll(&ready, 1, (int)((connection->deadline_ns - now) / 1000000 + 1));
    if (count == 0) errno = ETIMEDOUT;
    return count == 1;
}

static bool connect_one(struct http_connection *connection, const struct addrinfo *address) {
    connection->fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, address->ai_protocol);
    if (connection->fd < 0) return false;
    int failed = connect(connection->fd, address->ai_addr, address->ai_addrlen) != 0;
    if (failed && errno == EINPROGRESS && wait_ready(connection, POLLOUT)) {
        socklen_t size = sizeof(failed);
        getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failed, &size);
        errno = failed;
    }
    if (!failed) return true;
    const int why = errno;
    close(connection->fd);
    connection->fd = -1;
    errno = why;
    return false;
}

static int connect_plain(const struct http_target *target, struct http_connection *connection) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    const int unknown = getaddrinfo(target->host, target->port, &hints, &found);
    if (unknown) return fail(EXIT_ABSENT, "%s cannot be found: %s", target->host, gai_strerror(unknown));
    bool connected = false;
    for (const struct addrinfo *each = found; each && !connected; each = each->ai_next)
        connected = connect_one(connection, each);
    const int why = errno;
    freeaddrinfo(found);
    return connected
               ? 0
               : fail(EXIT_ABSENT, "nothing answers at %s, port %s: %s", target->host, target->port, strerror(why));
}

/* ---- TLS --------------------------------------------------------------------------------------------------------- */

/* Why a handshake failed, for people. */
static int fail_handshake(const struct http_target *target, gnutls_session_t session, int code) {
    gnutls_datum_t text = {0};
    const unsigned unverified = gnutls_session_get_verify_cert_status(session);
    if (code != GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR ||
        gnutls_certificate_verification_status_print(unverified, GNUTLS_CRT_X509, &text, 0) != 0)
        return fail(EXIT_OTHER, "there is no secure connection to %s: %s", target->host, gnutls_strerror(code));
    const int failed = fail(EXIT_OTHER, "the certificate of %s is refused: %s", target->host, (const char *)text.data);
    gnutls_free(text.data);
    return failed;
}

static bool is_number(const char *host) {
    return strchr(host, ':') || strspn(host, "0123456789.") == strlen(host);
}

static int begin_tls(const struct http_target *target, struct http_connection *connection) {
    if (gnutls_certificate_allocate_credentials(&connection->credentials) != 0 ||
        gnutls_init(&connection->session, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) != 0)
        return fail(EXIT_OTHER, "there is no memory for a secure connection");
    const int trusted =
        target->ca ? gnutls_certificate_set_x509_trust_file(connection->credentials, target->ca, GNUTLS_X509_FMT_PEM)
                   : gnutls_certificate_set_x509_system_trust(connection->credentials);
    if (trusted <= 0 && target->ca)
        return fail(EXIT_INPUT, "%s: no certificates in PEM: %s", target->ca,
                    trusted < 0 ? gnutls_strerror(trusted) : "it has none");
    gnutls_set_default_priority(connection->session);
    gnutls_credentials_set(connection->session, GNUTLS_CRD_CERTIFICATE, connection->credentials);
    if (!is_number(target->host))
        gnutls_server_name_set(connection->session, GNUTLS_NAME_DNS, target->host, strlen(target->host));
    gnutls_session_set_verify_cert(connection->session, target->host, 0);
    gnutls_transport_set_int(connection->session, connection->fd);
    int code;
    do {
        code = gnutls_handshake(connection->session);
        if (code == GNUTLS_E_AGAIN &&
            !wait_ready(connection, gnutls_record_get_direction(connection->session) ? POLLOUT : POLLIN))
            return fail(EXIT_STOPPED, "%s did not answer within %d seconds", target->host, LIMIT_MS / 1000);
    } while (code == GNUTLS_E_AGAIN || code == GNUTLS_E_INTERRUPTED || (code < 0 && !gnutls_error_is_fatal(code)));
    return code == 0 ? 0 : fail_handshake(target, connection->session, code);
}

/* ---- Both -------------------------------------------------------------------------------------------------------- */

int http_connect(const struct http_target *target, struct http_connection **made) {
    struct http_connection *connection = calloc(1, sizeof(*connection));
    if (!connection) return fail(EXIT_OTHER, "there is no memory for a connection");
    connection->fd = -1;
    connection->deadline_ns = now_ns() + UINT64_C(1000000) * LIMIT_MS;
    int failed = connect_plain(target, connection);
    if (!failed && target->tls) failed = begin_tls(target, connection);
    if (failed) {
        http_disconnect(connection);
        return failed;
    }
    *made = connection;
    return 0;
}

/* What a call of GnuTLS that did not work asks for: whether to try again. */
static bool again(const struct http_connection *connection, ptrdiff_t code, short events) {
    return code == GNUTLS_E_INTERRUPTED || (code == GNUTLS_E_AGAIN && wait_ready(connection, events));
}

ptrdiff_t http_send(struct http_connection *connection, const char *bytes, size_t count) {
    size_t sent = 0;
    while (sent < count) {
        ptrdiff_t now;
        if (connection->session) {
            do now = gnutls_record_send(connection->session, bytes + sent, count - sent);
            while (again(connection, now, POLLOUT));
        } else {
            if (!wait_ready(connection, POLLOUT)) return -1;
            now = send(connection->fd, bytes + sent, count - sent, MSG_NOSIGNAL);
        }
        if (now <= 0) return -1;
        sent += (size_t)now;
    }
    return (ptrdiff_t)sent;
}

ptrdiff_t http_receive(struct http_connection *connection, char *bytes, size_t room) {
    if (!connection->session) return wait_ready(connection, POLLIN) ? recv(connection->fd, bytes, room, 0) : -1;
    ptrdiff_t count;
    do count = gnutls_record_recv(connection->session, bytes, room);
    while (again(connection, count, POLLIN));
    /* Servers that end without a farewell are common; whether all is there the answer's length tells. */
    return count == GNUTLS_E_PREMATURE_TERMINATION ? 0 : count < 0 ? -1 : count;
}

void http_disconnect(struct http_connection *connection) {
    if (!connection) return;
    if (connection->session) gnutls_deinit(connection->session);
    if (connection->credentials) gnutls_certificate_free_credentials(connection->credentials);
    if (connection->fd >= 0) close(connection->fd);
    free(connection);
}
