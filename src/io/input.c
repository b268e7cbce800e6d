/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "io/input.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 18 };

static kith_status put(const char *path, int to, const unsigned char *from, size_t bytes, kith_error *error) {
    while (bytes) {
        const ssize_t wrote = write(to, from, bytes);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0)
            return ki_fail_errno(error, wrote ? errno : EIO, "%s: cannot be copied to a temporary file", path);
        from += wrote;
        bytes -= (size_t)wrote;
    }
    return KITH_OK;
}

/* ---- Pipes (I1) -------------------------------------------------------------------------------------------------- */

static kith_status copy_pipe(const char *path, int from, int to, kith_error *error) {
    unsigned char *buffer = malloc(COPY_BYTES);
    if (!buffer) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    kith_status status = KITH_OK;
    /* Opened without waiting for a writer: waiting is done here, where a signal ends it. */
    struct pollfd ready = {.fd = from, .events = POLLIN};
    if (poll(&ready, 1, -1) < 0 && errno == EINTR)
        status = ki_fail(error, KITH_E_CANCELLED, "%s: interrupted by a signal", path);
    while (status == KITH_OK) {
        const ssize_t got = read(from, buffer, COPY_BYTES);
        if (got == 0) break;
        if (got > 0)
            status = put(path, to, buffer, (size_t)got, error);
        else if (errno == EINTR)
            status = ki_fail(error, KITH_E_CANCELLED, "%s: interrupted by a signal", path);
        else
            status = ki_fail_errno(error, errno, "%s: cannot be read", path);
    }
    free(buffer);
    return status;
}

/* Put the temporary file in the place of what was copied to it. */
static kith_status take_copy(const char *path, kith_status status, int copy, int *fd, uint64_t *bytes,
                             kith_error *error) {
    struct stat about;
    if (status == KITH_OK && fstat(copy, &about) != 0) status = ki_fail_errno(error, errno, "%s: cannot stat", path);
    if (status != KITH_OK) {
        close(copy);
        return status;
    }
    close(*fd);
    *fd = copy;
    *bytes = (uint64_t)about.st_size;
    return KITH_OK;
}

static kith_status spool(const char *path, int *fd, uint64_t *bytes, kith_error *error) {
    int copy = -1;
    const int flags = fcntl(*fd, F_GETFL);
    if (flags < 0 || fcntl(*fd, F_SETFL, flags & ~O_NONBLOCK) != 0)
        return ki_fail_errno(error, errno, "%s: cannot be read", path);
    const kith_status status = ki_temporary(&copy, error);
    if (status != KITH_OK) return status;
    return take_copy(path, copy_pipe(path, *fd, copy, error), copy, fd, bytes, error);
}

/* ---- gzip (I2) --------------------------------------------------------------------------------------------------- */

/* What zlib.h calls Z_ERRNO, Z_MEM_ERROR and Z_BUF_ERROR (a stream that is cut off); other errors are damage. */
enum { ZLIB_ERRNO = -1, ZLIB_MEMORY = -4, ZLIB_CUT = -5 };

/* What is used of zlib. */
typedef struct zlib {
    void *library;
    void *(*open)(int fd, const char *mode);
    int (*read)(void *file, void *to, unsigned bytes);
    const char *(*error)(void *file, int *number);
    int (*close)(void *file);
} zlib;

static bool find(const zlib *z, const char *name, void *function, size_t function_bytes) {
    void *const found = dlsym(z->library, name);
    memcpy(function, &found, function_bytes); /* C has no cast from data to functions */
    return found != NULL;
}

static bool load_zlib(zlib *z) {
    *z = (zlib){.library = dlopen("libz.so.1", RTLD_NOW | RTLD_LOCAL)};
    if (!z->library) return false;
    if (find(z, "gzdopen", (void *)&z->open, sizeof(z->open)) && find(z, "gzread", (void *)&z->read, sizeof(z->read)) &&
        find(z, "gzerror", (void *)&z->error, sizeof(z->error)) &&
        find(z, "gzclose", (void *)&z->close, sizeof(z->close)))
        return true;
    dlclose(z->library);
    return false;
}

static kith_status decompress(const zlib *z, const char *path, void *file, int to, kith_error *error) {
    unsigned char *buffer = malloc(COPY_BYTES);
    kith_status status = buffer ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    while (status == KITH_OK) {
        int number = 0;
        const int got = z->read(file, buffer, COPY_BYTES);
        if (got > 0) status = put(path, to, buffer, (size_t)got, error);
        (void)z->error(file, &number);
        if (status != KITH_OK || (got == 0 && number == 0)) break;
        if (got <= 0 || number < 0)
            status =
                ki_fail(error, KITH_E_FORMAT, "%s: its gzip stream is %s", path, number == -5 ? "cut off" : "damaged");
    }
    free(buffer);
    return status;
}

static kith_status gunzip(const char *path, int *fd, uint64_t *bytes, kith_error *error) {
    zlib z;
    int copy = -1;
    if (!load_zlib(&z))
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: is compressed with gzip, and there is no libz.so.1 to decompress it", path);
    const int own = lseek(*fd, 0, SEEK_SET) == 0 ? fcntl(*fd, F_DUPFD_CLOEXEC, 0) : -1;
    void *file = own >= 0 ? z.open(own, "rb") : NULL; /* takes `own` over */
    if (!file && own >= 0) close(own);
    kith_status status = file ? ki_temporary(&copy, error) : ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    if (status == KITH_OK) status = take_copy(path, decompress(&z, path, file, copy, error), copy, fd, bytes, error);
    if (file) z.close(file);
    dlclose(z.library);
    return status;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static kith_status open_any(const char *path, int *fd, uint64_t *bytes, kith_error *error) {
    struct stat about;
    if (fstat(*fd, &about) != 0) return ki_fail_errno(error, errno, "%s: cannot stat", path);
    *bytes = (uint64_t)about.st_size;
    if (S_ISREG(about.st_mode)) return KITH_OK;
    if (S_ISFIFO(about.st_mode) || S_ISSOCK(about.st_mode) || isatty(*fd)) return spool(path, fd, bytes, error);
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: is %s, neither a file nor a pipe", path,
                   S_ISDIR(about.st_mode) ? "a folder" : "a device");
}

kith_status ki_input_open(const char *path, bool gzip, int *fd, uint64_t *bytes, kith_error *error) {
    unsigned char magic[3] = {0};
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (opened < 0) return ki_fail_errno(error, errno, "%s: cannot open", path);
    kith_status status = open_any(path, &opened, bytes, error);
    if (status == KITH_OK && gzip && *bytes >= sizeof(magic))
        status = ki_read_at(opened, path, magic, sizeof(magic), 0, error);
    if (status == KITH_OK && memcmp(magic, "\x1F\x8B\x08", sizeof(magic)) == 0)
        status = gunzip(path, &opened, bytes, error);
    if (status == KITH_OK)
        *fd = opened;
    else
        close(opened);
    return status;
}

/* ---- Telling what it is ------------------------------------------------------------------------------------------ */

static bool begins(const unsigned char *head, size_t bytes, const char *magic, size_t magic_bytes) {
    return bytes >= magic_bytes && memcmp(head, magic, magic_bytes) == 0;
}

/* "<!DOCTYPE html" or "<html", in any case. */
static bool is_html(const unsigned char *head, size_t bytes) {
    static const char *const starts[] = {"<!doctype html", "<html"};
    size_t at = 0;
    while (at < bytes && head[at] && strchr(" \t\r\n\xEF\xBB\xBF", head[at])) at++;
    for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
        if (bytes - at >= strlen(starts[i]) && strncasecmp((const char *)head + at, starts[i], strlen(starts[i])) == 0)
            return true;
    return false;
}

kith_status ki_input_is_known(const char *path, const unsigned char *head, size_t bytes, kith_error *error) {
    static const struct {
        const char *magic;
        size_t bytes;
        const char *name;
        bool python; /* the Python package reads it */
    } known[] = {
        {"\x1F\x8B", 2, "compressed with gzip", false},
        {"BZh", 3, "compressed with bzip2", false},
        {"\xFD"
         "7zXZ",
         5, "compressed with xz", false},
        {"\x28\xB5\x2F\xFD", 4, "compressed with zstd", false},
        {"PK\x03\x04", 4, "a zip archive (as .npz and .xlsx are)", false},
        {"PAR1", 4, "a Parquet file", true},
        {"\x89HDF\r\n\x1A\n", 8, "an HDF5 file", true},
        {"ARROW1", 6, "an Arrow file", true},
        {"SQLite format 3", 15, "an SQLite database", false},
        {"\x80\x02", 2, "a Python pickle", false},
        {"\x80\x03", 2, "a Python pickle", false},
        {"\x80\x04\x95", 3, "a Python pickle", false},
        {"\x80\x05\x95", 3, "a Python pickle", false},
        {"\x93NUMPY", 6, "an .npy file", false},
        {"version https://git-lfs", 23, "a pointer of Git LFS; the file itself was not fetched", false},
        {"\xFF\xFE", 2, "text in UTF-16; text is read in UTF-8", false},
        {"\xFE\xFF", 2, "text in UTF-16; text is read in UTF-8", false},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        if (begins(head, bytes, known[i].magic, known[i].bytes))
            return known[i].python
                       ? ki_fail(error, KITH_E_UNSUPPORTED,
                                 "%s: is %s, which is read through Python: python3 -m kith convert %s OUT.npy, from "
                                 "the package kith-search",
                                 path, known[i].name, path)
                       : ki_fail(error, KITH_E_UNSUPPORTED, "%s: is %s", path, known[i].name);
    if (!is_html(head, bytes)) return KITH_OK;
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: is a web page (HTML), not what it links to", path);
}

/* A CR that no LF follows, and no LF anywhere. */
static bool ends_in_cr(const unsigned char *head, size_t bytes) {
    const unsigned char *cr = memchr(head, '\r', bytes);
    return cr && cr + 1 < head + bytes && !memchr(head, '\n', bytes);
}

kith_status ki_input_is_text(const char *path, const unsigned char *head, size_t bytes, kith_error *error) {
    const kith_status known = ki_input_is_known(path, head, bytes, error);
    if (known != KITH_OK) return known;
    /* Letters of UTF-16 without a mark: a digit or a Latin letter beside a NUL. */
    if (bytes >= 4 && ((!head[0] && head[1] && !head[2] && head[3]) || (head[0] && !head[1] && head[2] && !head[3])))
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: is text in UTF-16; text is read in UTF-8", path);
    if (ends_in_cr(head, bytes))
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: its lines end in CR alone, as on old Macs; lines are read that end in LF or CR LF", path);
    return KITH_OK;
}
