/* SPDX-License-Identifier: Apache-2.0
 *
 * Files, written whole or not at all, and read with every short read, EINTR and error looked at.
 *
 * An output file lives without a name (O_TMPFILE), or where the file system has no such thing or /proc is not there
 * under a hidden temporary one, until commit syncs it, gives it its name by rename, and syncs the folder. A process
 * that dies leaves the old file as it was. A file that is replaced hands its mode, owner and group on; where the owner
 * or the group cannot be kept, the mode is narrowed so that nobody gains access. A name that is a symbolic link is
 * followed, and stays a link. One owner at a time, except that several threads may call ki_outfile_write_at for
 * disjoint ranges. */
#ifndef KI_BASE_FILE_H
#define KI_BASE_FILE_H

#include "kith.h"

#include <stdbool.h>

/* Which file a name stood for: a name may be given to another one meanwhile. */
struct ki_file_identity {
    uint64_t device, inode; /* 0, 0: none */
};
typedef struct ki_file_identity ki_file_identity;

typedef struct ki_outfile {
    int fd;     /* -1 when not open */
    char *path; /* final name */
    char *temp; /* temporary name; the file bears it only when `named` */
    int named;
    ki_file_identity expected; /* commit replaces this file and no other; none: whatever bears the name */
    char self[32];             /* another way to a file without a name: its descriptor in /proc */
    int kept;                  /* the temporary file outlives a discard: somebody will go on with it */
} ki_outfile;

#define KI_OUTFILE_NONE                                                                                                \
    { .fd = -1 }

kith_status ki_outfile_create(const char *path, ki_outfile *file, kith_error *error);
kith_status ki_outfile_write_at(ki_outfile *file, const void *data, uint64_t bytes, uint64_t offset, kith_error *error);
/* Read back what was written. */
kith_status ki_outfile_read_at(ki_outfile *file, void *data, uint64_t bytes, uint64_t offset, kith_error *error);
/* On failure the file is discarded. KITH_E_BUSY: the name stands for another file than `expected`, which stays. */
kith_status ki_outfile_commit(ki_outfile *file, kith_error *error);
/* Fine on KI_OUTFILE_NONE and after commit. */
void ki_outfile_discard(ki_outfile *file);

/* An output that several processes work on, one after the other: open or make `temp`, which a commit will turn into
 * `path`. Contents are as the last one left them, and it is kept until the caller says otherwise. The file is locked
 * until it is closed: KITH_E_BUSY while another process has it. */
kith_status ki_outfile_resume(const char *path, const char *temp, ki_outfile *file, kith_error *error);
/* Make the file `bytes` long, its place on the disk taken where the file system can do that; what is new reads as
 * zeros. */
kith_status ki_outfile_reserve(ki_outfile *file, uint64_t bytes, kith_error *error);
kith_status ki_outfile_cut(ki_outfile *file, uint64_t bytes, kith_error *error);
kith_status ki_outfile_sync(ki_outfile *file, kith_error *error);

/* The first a_bytes of a, and b behind them; the caller's to free. NULL: no memory. */
char *ki_path_join(const char *a, size_t a_bytes, const char *b);

/* Remove a file, if it is there, for good: its folder is synced. */
kith_status ki_remove(const char *path, kith_error *error);

/* Which file an open one is; errno is set on failure. */
bool ki_file_identify(int fd, ki_file_identity *identity);

/* An empty file without a name, in $TMPDIR or /tmp, to read and write. */
kith_status ki_temporary(int *fd, kith_error *error);

/* Open for reading and learn the size; refuses what is not a regular file: KITH_E_UNSUPPORTED. */
kith_status ki_open_read(const char *path, int *fd, uint64_t *bytes, kith_error *error);
/* All `bytes` at `offset`, or KITH_E_IO / KITH_E_FORMAT ("ends at byte N"). */
kith_status ki_read_at(int fd, const char *path, void *data, uint64_t bytes, uint64_t offset, kith_error *error);

#endif
