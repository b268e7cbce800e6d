/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

static bool is_stream(const char *path) {
    struct stat about;
    return strcmp(path, "-") == 0 || (stat(path, &about) == 0 && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode));
}

static kith_status open_stream(struct traffic_output *output, const char *path, kith_error *error) {
    const bool standard = strcmp(path, "-") == 0;
    if (standard) output->name = "standard output";
    output->stream = standard ? dup(STDOUT_FILENO) : open(path, O_WRONLY | O_CLOEXEC);
    if (output->stream < 0) return ki_fail_errno(error, errno, "%s: cannot open", output->name);
    return KITH_OK;
}

kith_status traffic_output_open(struct traffic_output *output, const char *path, bool regular, kith_error *error) {
    *output = (struct traffic_output){.file = KI_OUTFILE_NONE, .stream = -1, .name = path};
    if (regular && strcmp(path, "-") == 0)
        return ki_fail(error, KITH_E_ARG, "standard output: a file is needed, because its head is written last");
    const kith_status status =
        !regular && is_stream(path) ? open_stream(output, path, error) : ki_outfile_create(path, &output->file, error);
    if (status != KITH_OK) return status;
    output->open = true;
    output->buffer = malloc(TRAFFIC_OUTPUT_BYTES);
    if (output->buffer) return KITH_OK;
    traffic_output_discard(output);
    return ki_fail(error, KITH_E_NOMEM, "out of memory");
}

static kith_status write_stream(struct traffic_output *output, const uint8_t *data, size_t bytes, kith_error *error) {
    while (bytes) {
        const ssize_t wrote = write(output->stream, data, bytes);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote <= 0) return ki_fail_errno(error, wrote ? errno : EIO, "%s: cannot write", output->name);
        data += wrote;
        bytes -= (size_t)wrote;
    }
    return KITH_OK;
}

static kith_status write_out(struct traffic_output *output, const void *data, size_t bytes, kith_error *error) {
    const kith_status status = output->stream >= 0
                                   ? write_stream(output, data, bytes, error)
                                   : ki_outfile_write_at(&output->file, data, bytes, output->written, error);
    if (status == KITH_OK) output->written += bytes;
    return status;
}

static kith_status flush(struct traffic_output *output, kith_error *error) {
    const kith_status status = write_out(output, output->buffer, output->used, error);
    if (status == KITH_OK) output->used = 0;
    return status;
}

uint8_t *traffic_output_room(struct traffic_output *output, size_t bytes, kith_error *error) {
    if (TRAFFIC_OUTPUT_BYTES - output->used < bytes && flush(output, error) != KITH_OK) return NULL;
    return output->buffer + output->used;
}

kith_status traffic_output_write(struct traffic_output *output, const void *data, size_t bytes, kith_error *error) {
    if (bytes > TRAFFIC_OUTPUT_BYTES / 2) {
        const kith_status status = flush(output, error);
        return status == KITH_OK ? write_out(output, data, bytes, error) : status;
    }
    uint8_t *room = traffic_output_room(output, bytes, error);
    if (!room) return error ? error->status : KITH_E_IO;
    memcpy(room, data, bytes);
    output->used += bytes;
    return KITH_OK;
}

kith_status traffic_output_patch(struct traffic_output *output, const void *data, size_t bytes, uint64_t offset,
                                 kith_error *error) {
    const kith_status status = flush(output, error);
    return status == KITH_OK ? ki_outfile_write_at(&output->file, data, bytes, offset, error) : status;
}

kith_status traffic_output_commit(struct traffic_output *output, kith_error *error) {
    kith_status status = flush(output, error);
    if (status == KITH_OK && output->stream >= 0) {
        if (close(output->stream) != 0) status = ki_fail_errno(error, errno, "%s: cannot write", output->name);
        output->stream = -1;
    } else if (status == KITH_OK) {
        status = ki_outfile_commit(&output->file, error);
    }
    traffic_output_discard(output);
    return status;
}

void traffic_output_discard(struct traffic_output *output) {
    if (!output->open) return;
    if (output->stream >= 0) close(output->stream);
    ki_outfile_discard(&output->file);
    free(output->buffer);
    *output = (struct traffic_output){.file = KI_OUTFILE_NONE, .stream = -1};
}
