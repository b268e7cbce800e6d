/* SPDX-License-Identifier: Apache-2.0
 *
 * What the process gives up, so that a mistake in it is worth less to whom it serves. */
#ifndef KITH_SERVER_SERVE_CONFINE_H
#define KITH_SERVER_SERVE_CONFINE_H

#include <stddef.h>

/* From here on this thread, and all that it starts, write beneath the folders to be written and for temporary files
 * alone, and read those, the folders of the files to be read, and what the system is made of. Either may be NULL. 1, or
 * 0 and in `lacks` why the kernel does not do that. Call it before the first thread is made. */
typedef struct ks_confines {
    const char *write_folder;
    const char *read_files[4]; /* files whose folders may be read, since they are replaced by others of their name */
} ks_confines;
int ks_confine_files(const ks_confines *confines, char *lacks, size_t room);

/* From here on the whole process starts no programs and makes no system calls that change the system, look into other
 * processes or are of no use to a server. 1 or 0, likewise. */
int ks_confine_calls(char *lacks, size_t room);

#endif
