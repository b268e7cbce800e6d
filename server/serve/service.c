/* SPDX-License-Identifier: Apache-2.0
 *
 * What systemd agrees on with a service: it is told by a datagram that the server is ready, and may hand over a socket
 * that listens already. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "serve/inner.h"

void ks_serve_notify(const char *what) {
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const size_t length = path ? strlen(path) : 0;
    if (length < 2 || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@')) return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@') address.sun_path[0] = 0;
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    if (sendto(fd, what, strlen(what), MSG_NOSIGNAL, (struct sockaddr *)&address, size) < 0) errno = 0;
    close(fd);
}

kith_status ks_serve_activated(int *socket, kith_error *error) {
    enum { FIRST_FD = 3 };
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    *socket = -1;
    if (!pid || !count || strtol(pid, NULL, 10) != (long)getpid()) return KITH_OK;
    if (strcmp(count, "1") != 0) {
        if (error) {
            error->status = KITH_E_ARG;
            snprintf(error->text, sizeof(error->text),
                     "%.8s sockets were handed over (LISTEN_FDS); the server listens at one", count);
        }
        return KITH_E_ARG;
    }
    (void)fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC);
    *socket = FIRST_FD;
    return KITH_OK;
}
