/* SPDX-License-Identifier: Apache-2.0
 *
 * SQLite's usual file system under another name, "faulty", which fails when it is told to: include it in one source of
 * a test program, and call faulty_vfs_install() once. What is not told to fail goes to the real one, syncs that do not
 * fail are left out. */
#ifndef TESTS_SUPPORT_FAULTY_VFS_H
#define TESTS_SUPPORT_FAULTY_VFS_H

#include <sqlite3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static atomic_long faulty_vfs_room = -1;  /* bytes that may still be written, -1: any number; then SQLITE_FULL */
static atomic_int faulty_vfs_sync_fails;  /* non-zero: every sync */
static atomic_int faulty_vfs_reads_fail;  /* non-zero: every read of a file */
static atomic_long faulty_vfs_syncs;      /* asked for */
static atomic_int faulty_vfs_nothing_new; /* non-zero: no file is made */
static atomic_int faulty_vfs_no_shared;   /* non-zero: no index of a log, as where the folder may not be written */

typedef struct faulty_file {
    sqlite3_file base;
    sqlite3_file *real; /* behind this struct */
} faulty_file;

static sqlite3_file *faulty_real(sqlite3_file *file) {
    return ((faulty_file *)file)->real;
}

static int faulty_close(sqlite3_file *file) {
    sqlite3_file *real = faulty_real(file);
    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int faulty_read(sqlite3_file *file, void *to, int bytes, sqlite3_int64 offset) {
    if (atomic_load(&faulty_vfs_reads_fail)) return SQLITE_IOERR_READ;
    return faulty_real(file)->pMethods->xRead(faulty_real(file), to, bytes, offset);
}

static int faulty_write(sqlite3_file *file, const void *from, int bytes, sqlite3_int64 offset) {
    const long room = atomic_load(&faulty_vfs_room);
    if (room >= 0) {
        if (room < bytes) return SQLITE_FULL;
        atomic_store(&faulty_vfs_room, room - bytes);
    }
    return faulty_real(file)->pMethods->xWrite(faulty_real(file), from, bytes, offset);
}

static int faulty_truncate(sqlite3_file *file, sqlite3_int64 bytes) {
    return faulty_real(file)->pMethods->xTruncate(faulty_real(file), bytes);
}

static int faulty_sync(sqlite3_file *file, int flags) {
    (void)file, (void)flags;
    atomic_fetch_add(&faulty_vfs_syncs, 1);
    return atomic_load(&faulty_vfs_sync_fails) ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int faulty_size(sqlite3_file *file, sqlite3_int64 *bytes) {
    return faulty_real(file)->pMethods->xFileSize(faulty_real(file), bytes);
}

static int faulty_lock(sqlite3_file *file, int lock) {
    return faulty_real(file)->pMethods->xLock(faulty_real(file), lock);
}

static int faulty_unlock(sqlite3_file *file, int lock) {
    return faulty_real(file)->pMethods->xUnlock(faulty_real(file), lock);
}

static int faulty_reserved(sqlite3_file *file, int *result) {
    return faulty_real(file)->pMethods->xCheckReservedLock(faulty_real(file), result);
}

static int faulty_control(sqlite3_file *file, int what, void *argument) {
    return faulty_real(file)->pMethods->xFileControl(faulty_real(file), what, argument);
}

static int faulty_sector(sqlite3_file *file) {
    return faulty_real(file)->pMethods->xSectorSize(faulty_real(file));
}

static int faulty_traits(sqlite3_file *file) {
    return faulty_real(file)->pMethods->xDeviceCharacteristics(faulty_real(file));
}

static int faulty_map(sqlite3_file *file, int region, int bytes, int extend, void volatile **memory) {
    if (atomic_load(&faulty_vfs_no_shared)) return SQLITE_CANTOPEN;
    return faulty_real(file)->pMethods->xShmMap(faulty_real(file), region, bytes, extend, memory);
}

static int faulty_shared_lock(sqlite3_file *file, int offset, int count, int flags) {
    return faulty_real(file)->pMethods->xShmLock(faulty_real(file), offset, count, flags);
}

static void faulty_barrier(sqlite3_file *file) {
    faulty_real(file)->pMethods->xShmBarrier(faulty_real(file));
}

static int faulty_unmap(sqlite3_file *file, int forget) {
    return faulty_real(file)->pMethods->xShmUnmap(faulty_real(file), forget);
}

static int faulty_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *got) {
    static const sqlite3_io_methods methods = {2,
                                               faulty_close,
                                               faulty_read,
                                               faulty_write,
                                               faulty_truncate,
                                               faulty_sync,
                                               faulty_size,
                                               faulty_lock,
                                               faulty_unlock,
                                               faulty_reserved,
                                               faulty_control,
                                               faulty_sector,
                                               faulty_traits,
                                               faulty_map,
                                               faulty_shared_lock,
                                               faulty_barrier,
                                               faulty_unmap,
                                               NULL,
                                               NULL};
    sqlite3_vfs *real = vfs->pAppData;
    faulty_file *mine = (faulty_file *)file;
    int there = 0;
    mine->base.pMethods = NULL;
    mine->real = (sqlite3_file *)(mine + 1);
    if (name && atomic_load(&faulty_vfs_nothing_new) &&
        real->xAccess(real, name, SQLITE_ACCESS_EXISTS, &there) == SQLITE_OK && !there)
        return SQLITE_CANTOPEN;
    const int code = real->xOpen(real, name, mine->real, flags, got);
    if (mine->real->pMethods) mine->base.pMethods = &methods;
    return code;
}

static inline void faulty_vfs_install(void) {
    static sqlite3_vfs faulty;
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    faulty = *real;
    faulty.pNext = NULL;
    faulty.zName = "faulty";
    faulty.szOsFile = (int)sizeof(faulty_file) + real->szOsFile;
    faulty.pAppData = real;
    faulty.xOpen = faulty_open;
    sqlite3_vfs_register(&faulty, 0);
}

#endif
