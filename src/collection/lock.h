/* SPDX-License-Identifier: Apache-2.0
 *
 * One writer at a time: a lock of the open file description (F_OFD_SETLK) on the file `lock` of the folder.
 *
 * K1. The system lets go of it when the last descriptor is closed, also of a process that was killed: a lock is never
 *     stale, and the file need not be removed.
 * K2. It counts between two opens in one process too, which the older locks of POSIX do not.
 * K3. A child made by fork() shares the description, and so holds the lock until it ends or executes another program.
 * K4. What the file says of the holder is for people only; it is written by who has the lock.
 *
 * Readers take no lock. */
#ifndef KI_COLLECTION_LOCK_H
#define KI_COLLECTION_LOCK_H

#include "kith.h"

/* Lock the folder for writing; *fd is closed by ki_lock_release. KITH_E_BUSY names the holder. */
kith_status ki_lock_take(const char *folder, int *fd, kith_error *error);
void ki_lock_release(int fd); /* -1 is fine */

#endif
