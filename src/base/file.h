/* SPDX-License-Identifier: Apache-2.0
 *
 * Files, written whole or not at all, and read with every short read, EINTR and error looked at.
 *
 * An output file lives without a name (O_TMPFILE), or where the file system has no such thing under a hidden temporary
 * one, until commit syncs it, gives it its name by rename, and syncs the folder. A process that dies leaves the old
 * file as it was. One owner at a time, except that several threads may call ki_outfile_write_at for disjoint ranges. */
#ifndef KI_BASE_FILE_H
#define KI_BASE_FILE_H

#include "kith.h"

typedef struct ki_outfile {
    int fd;     /* -1 when not open */
    char *path; /* final name */
    char *temp; /* temporary name; the file bears it only when `named` */
    int named;
} ki_outfile;

#define KI_OUTFILE_NONE                                                                                                \
    { .fd = -1 }

kith_status ki_outfile_create(const char *path, ki_outfile *file, kith_error *error);
kith_status ki_outfile_write_at(ki_outfile *file, const void *data, uint64_t bytes, uint64_t offset, kith_error *error);
/* Read back what was written. */
kith_status ki_outfile_read_at(ki_outfile *file, void *data, uint64_t bytes, uint64_t offset, kith_error *error);
/* On failure the file is discarded. */
kith_status ki_outfile_commit(ki_outfile *file, kith_error *error);
/* Fine on KI_OUTFILE_NONE and after commit. */
void ki_outfile_discard(ki_outfile *file);

/* Open for reading and learn the size; refuses what is not a regular file. */
kith_status ki_open_read(const char *path, int *fd, uint64_t *bytes, kith_error *error);
/* All `bytes` at `offset`, or KITH_E_IO / KITH_E_FORMAT ("ends at byte N"). */
kith_status ki_read_at(int fd, const char *path, void *data, uint64_t bytes, uint64_t offset, kith_error *error);

#endif
