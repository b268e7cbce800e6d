/* SPDX-License-Identifier: Apache-2.0
 *
 * The folder of a collection:
 *
 *   catalog.sqlite      and what SQLite keeps beside it
 *   lock                who writes (collection/lock.h)
 *   segments/<number>   sealed segments (sealed.h)
 *
 * Any thread; who makes or removes things holds the lock, or nobody else knows the folder yet. */
#ifndef KI_SEGMENT_HOME_H
#define KI_SEGMENT_HOME_H

#include "kith.h"

#include <stdint.h>

#define KI_HOME_CATALOG  "catalog.sqlite"
#define KI_HOME_SEGMENTS "segments"

/* folder/name; the caller's to free. NULL: no memory. */
char *ki_home_path(const char *folder, const char *name);

/* An empty folder beside `path`, to be given that name by ki_home_commit. *temp is the caller's to free. KITH_E_BUSY:
 * there is something at `path` already that is no empty folder. */
kith_status ki_home_begin(const char *path, char **temp, kith_error *error);
/* Sync it, rename it to `path`, sync where that lies. On failure it is as it was. */
kith_status ki_home_commit(const char *temp, const char *path, kith_error *error);
/* An empty folder under $TMPDIR or /tmp; *path is the caller's to free. */
kith_status ki_home_temporary(char **path, kith_error *error);

int ki_home_find(const char *path); /* whether there is something */
kith_status ki_home_make(const char *path, kith_error *error);
kith_status ki_home_sync(const char *path, kith_error *error);
/* With all that is in it; symbolic links in it are removed, not followed. What is not there is fine. */
kith_status ki_home_remove(const char *path, kith_error *error);

/* Called for each entry of a folder but "." and "..". */
typedef kith_status (*ki_home_fn)(void *context, const char *name, kith_error *error);
kith_status ki_home_each(const char *path, ki_home_fn fn, void *context, kith_error *error);

#endif
