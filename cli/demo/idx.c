/* SPDX-License-Identifier: Apache-2.0
 *
 * Reads IDX files through zlib, which passes files that are not gzipped through unchanged; idx.h has the invariants. */
#define _GNU_SOURCE
#include "demo/idx.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define FIRST_BYTES ((size_t)1 << 20)
#define TOTAL_MAX   ((uint64_t)1 << 30) /* bytes of elements: 17 times Fashion-MNIST, and an end to a gzip bomb */

struct source {
    const char *path;
    gzFile file;
    kith_error *error;
    uint64_t at; /* bytes read, after decompression */
};

static kith_status refuse(const struct source *source, kith_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* "<path>: <sentence>" */
static kith_status refuse(const struct source *source, kith_status status, const char *format, ...) {
    kith_error *error = source->error;
    if (!error) return status;
    va_list arguments;
    va_start(arguments, format);
    char sentence[256];
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    error->status = status;
    snprintf(error->text, sizeof(error->text), "%.240s: %s", source->path, sentence);
    return status;
}

static kith_status open_source(struct source *source) {
    struct stat about;
    /* O_NONBLOCK: opening a FIFO must not wait for a writer. */
    int fd = open(source->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        kith_status status = errno == ENOENT || errno == ENOTDIR ? KITH_E_NOTFOUND : KITH_E_IO;
        return refuse(source, status, "cannot be opened: %s", strerror(errno));
    }
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        close(fd);
        return refuse(source, KITH_E_IO, "is not a regular file");
    }
    source->file = gzdopen(fd, "rb");
    if (!source->file) {
        close(fd);
        return refuse(source, KITH_E_NOMEM, "out of memory");
    }
    gzbuffer(source->file, 1u << 17);
    return KITH_OK;
}

/* Read up to `bytes`; *got says how many came before the end. A damaged gzip stream is an error even if bytes came. */
static kith_status read_some(struct source *source, uint8_t *to, size_t bytes, size_t *got) {
    *got = 0;
    while (*got < bytes) {
        size_t left = bytes - *got;
        int count = gzread(source->file, to + *got, left < FIRST_BYTES ? (unsigned)left : (unsigned)FIRST_BYTES);
        int number;
        const char *reason = gzerror(source->file, &number);
        if (number == Z_ERRNO) return refuse(source, KITH_E_IO, "cannot be read: %s", strerror(errno));
        if (number == Z_MEM_ERROR) return refuse(source, KITH_E_NOMEM, "out of memory");
        if (number == Z_BUF_ERROR)
            return refuse(source, KITH_E_FORMAT, "the gzip stream is cut off after %llu bytes of data",
                          (unsigned long long)(source->at + (count > 0 ? (unsigned)count : 0)));
        if (count < 0 || number != Z_OK)
            return refuse(source, KITH_E_FORMAT, "the gzip stream is damaged behind byte %llu of its data (%s)",
                          (unsigned long long)source->at, reason);
        if (count == 0) break;
        *got += (size_t)count;
        source->at += (unsigned)count;
    }
    return KITH_OK;
}

static uint32_t big_endian(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static kith_status read_header(struct source *source, unsigned dimensions, struct idx *idx) {
    uint8_t header[16];
    size_t wanted = 4 + 4 * (size_t)dimensions, got;
    kith_status status = read_some(source, header, wanted, &got);
    if (status) return status;
    if (got < wanted)
        return refuse(source, KITH_E_FORMAT, "ends at byte %zu, inside the IDX header of %zu bytes", got, wanted);
    if (header[0] != 0 || header[1] != 0 || header[2] != 8 || header[3] != dimensions)
        return refuse(source, KITH_E_FORMAT,
                      "begins with bytes %02x %02x %02x %02x, but an IDX file of %s begins with 00 00 08 %02x",
                      header[0], header[1], header[2], header[3], dimensions == 3 ? "pictures" : "labels", dimensions);
    idx->count = big_endian(header + 4);
    idx->rows = dimensions == 3 ? big_endian(header + 8) : 1;
    idx->columns = dimensions == 3 ? big_endian(header + 12) : 1;
    if (idx->count == 0 || idx->rows == 0 || idx->columns == 0)
        return refuse(source, KITH_E_FORMAT, "holds nothing: its header says %zu x %zu x %zu", idx->count, idx->rows,
                      idx->columns);
    if (idx->count > IDX_COUNT_MAX || idx->rows > IDX_SIDE_MAX || idx->columns > IDX_SIDE_MAX)
        return refuse(source, KITH_E_LIMIT, "its header says %zu x %zu x %zu, beyond the limit of %u x %u x %u",
                      idx->count, idx->rows, idx->columns, IDX_COUNT_MAX, IDX_SIDE_MAX, IDX_SIDE_MAX);
    uint64_t total = (uint64_t)idx->count * idx->rows * idx->columns; /* below 2^36 by the limits above */
    if (total > TOTAL_MAX)
        return refuse(source, KITH_E_LIMIT, "its header says %llu bytes of pictures, beyond the limit of %llu",
                      (unsigned long long)total, (unsigned long long)TOTAL_MAX);
    return KITH_OK;
}

static kith_status read_elements(struct source *source, struct idx *idx) {
    size_t total = idx->count * idx->rows * idx->columns, filled = 0, capacity = 0;
    while (filled < total) {
        size_t room = capacity ? capacity * 2 : FIRST_BYTES, got;
        if (room > total) room = total;
        uint8_t *grown = realloc(idx->data, room);
        if (!grown) return refuse(source, KITH_E_NOMEM, "out of memory for %zu bytes", room);
        idx->data = grown;
        capacity = room;
        kith_status status = read_some(source, idx->data + filled, capacity - filled, &got);
        if (status) return status;
        filled += got;
        if (filled < capacity) return refuse(source, KITH_E_FORMAT, "ends after %zu of %zu elements", filled, total);
    }
    /* One byte more than announced is asked for: it must not be there, and asking makes zlib check the trailer. */
    uint8_t extra;
    size_t got;
    kith_status status = read_some(source, &extra, 1, &got);
    if (status) return status;
    if (got > 0) return refuse(source, KITH_E_FORMAT, "goes on after the %zu elements that its header says", total);
    return KITH_OK;
}

kith_status idx_read(const char *path, unsigned dimensions, struct idx *idx, kith_error *error) {
    struct source source = {.path = path, .error = error};
    struct idx read = {0};
    if (dimensions != 1 && dimensions != 3) return refuse(&source, KITH_E_ARG, "is neither pictures nor labels");
    kith_status status = open_source(&source);
    if (status) return status;
    status = read_header(&source, dimensions, &read);
    if (!status) status = read_elements(&source, &read);
    if (status) {
        idx_free(&read);
    } else {
        *idx = read;
    }
    gzclose_r(source.file);
    return status;
}

void idx_free(struct idx *idx) {
    free(idx->data);
    *idx = (struct idx){0};
}
