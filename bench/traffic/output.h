/* SPDX-License-Identifier: Apache-2.0
 *
 * Bytes on their way into a file, gathered into large writes. A regular file appears under its name at commit, whole;
 * standard output ("-"), pipes and devices get the bytes as they come. */
#ifndef KITH_TRAFFIC_OUTPUT_H
#define KITH_TRAFFIC_OUTPUT_H

#include <stdbool.h>

#include "base/file.h"

enum { TRAFFIC_OUTPUT_BYTES = 1 << 20 };

struct traffic_output {
    ki_outfile file;
    bool open;
    int stream;       /* -1 for a regular file */
    const char *name; /* of a stream; borrowed */
    uint8_t *buffer;
    size_t used;
    uint64_t written; /* before the buffer */
};

/* regular: refuse "-" and what is not a regular file. */
kith_status traffic_output_open(struct traffic_output *output, const char *path, bool regular, kith_error *error);
kith_status traffic_output_write(struct traffic_output *output, const void *data, size_t bytes, kith_error *error);
/* Room for `bytes` (at most TRAFFIC_OUTPUT_BYTES) in the buffer, to be filled by the caller, who adds to `used`. NULL
 * when writing failed. */
uint8_t *traffic_output_room(struct traffic_output *output, size_t bytes, kith_error *error);
/* Over bytes written before; regular files only. */
kith_status traffic_output_patch(struct traffic_output *output, const void *data, size_t bytes, uint64_t offset,
                                 kith_error *error);
/* Closes whatever comes of it. */
kith_status traffic_output_commit(struct traffic_output *output, kith_error *error);
void traffic_output_discard(struct traffic_output *output); /* fine on a zeroed struct, and after commit */

#endif
