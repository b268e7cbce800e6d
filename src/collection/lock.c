/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "collection/lock.h"

#include "base/status.h"
#include "segment/home.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_BYTES = 256 };

/* Say who has it. Failing here costs another one's message its name, nothing else. */
static void sign(int fd) {
    char host[80] = "?", since[32] = "?", text[TEXT_BYTES];
    const time_t now = time(NULL);
    struct tm when;
    if (gethostname(host, sizeof(host) - 1) != 0) strcpy(host, "?");
    host[sizeof(host) - 1] = 0;
    if (gmtime_r(&now, &when)) strftime(since, sizeof(since), "%Y-%m-%dT%H:%M:%SZ", &when);
    const int bytes = snprintf(text, sizeof(text), "process %ld on host %s since %s\n", (long)getpid(), host, since);
    if (bytes <= 0 || ftruncate(fd, 0) != 0) return;
    const ssize_t wrote = pwrite(fd, text, (size_t)bytes, 0);
    (void)wrote;
}

/* The first line, as far as it can be shown. */
static void read_holder(int fd, char text[TEXT_BYTES]) {
    const ssize_t bytes = pread(fd, text, TEXT_BYTES - 1, 0);
    size_t end = 0;
    while (bytes > 0 && end < (size_t)bytes && text[end] >= ' ' && text[end] <= '~') end++;
    text[end] = 0;
    if (end == 0) strcpy(text, "another process");
}

kith_status ki_lock_take(const char *folder, int *out, kith_error *error) {
    char *path = ki_home_path(folder, "lock");
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    const int number = errno;
    struct stat opened;
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    kith_status status = KITH_OK;
    if (fd < 0)
        status = ki_fail_errno(error, number, "%s: cannot open", path);
    else if (fstat(fd, &opened) != 0 || !S_ISREG(opened.st_mode))
        status = ki_fail(error, KITH_E_IO, "%s: is not a regular file", path);
    else if (fcntl(fd, F_OFD_SETLK, &whole) == 0)
        sign(fd);
    else if (errno == EAGAIN || errno == EACCES) {
        char holder[TEXT_BYTES];
        read_holder(fd, holder);
        status = ki_fail(error, KITH_E_BUSY, "%s: is open for writing already: held by %s", folder, holder);
    } else
        status = ki_fail_errno(error, errno, "%s: cannot lock", path);
    free(path);
    if (status == KITH_OK)
        *out = fd;
    else if (fd >= 0)
        close(fd);
    return status;
}

void ki_lock_release(int fd) {
    if (fd >= 0) close(fd);
}
