/* SPDX-License-Identifier: Apache-2.0
 *
 * A disk in memory, as a file system of SQLite's (a VFS): what a machine's crash, a full disk and failing calls do to a
 * catalog, at each single operation, without a machine.
 *
 * D1. What is written is seen by every reader at once, and is *pending* until a sync of its file succeeds. At a crash
 *     each pending piece of 512-byte sectors is kept, dropped or torn by a seed, each for itself, so that later ones
 *     may be there without earlier ones; pending sizes likewise. What was synced is never lost.
 * D2. Names of files are made and removed for good when the folder is synced: with a removal that says so, and at the
 *     first sync of a new journal or log, as SQLite's usual file system does. Before that either may be undone.
 * D3. After a sync that failed the pending pieces are neither on the disk nor pending any more: a later sync does not
 *     bring them there, unless their sector is written again. (What Linux does: the pages are marked clean.)
 * D4. From the crash to disk_restart() nothing succeeds but closing.
 *
 * One process, any number of threads. Equal seeds and operations give equal disks. */
#ifndef TESTS_SUPPORT_DISK_H
#define TESTS_SUPPORT_DISK_H

#include <stdint.h>

struct disk;
typedef struct disk_image disk_image;

/* What operations are; a fault names those that it counts. */
enum {
    DISK_READ = 1,
    DISK_WRITE = 2,
    DISK_TRUNCATE = 4,
    DISK_SYNC = 8,
    DISK_REMOVE = 16,
    DISK_MAKE = 32, /* a file that was not there is opened */
    DISK_CHANGES = DISK_WRITE | DISK_TRUNCATE | DISK_SYNC | DISK_REMOVE | DISK_MAKE
};

typedef enum disk_fault {
    DISK_NO_FAULT,
    DISK_CRASH, /* the operation is not done, nor is any that follows */
    DISK_ERROR, /* it fails: an I/O error */
    DISK_FULL,  /* there is no space for it */
    DISK_SHORT  /* half of the bytes are written, then there is no space; other operations: as ERROR */
} disk_fault;

/* A disk that SQLite knows by this name (not the default one). powersafe: bytes beside those that are written stay as
 * they are when a sector is torn, which is what SQLite assumes of disks; else all of a torn sector is garbage, and
 * SQLite is told so. */
struct disk *disk_create(const char *name, int powersafe);
/* No file of it may be open. */
void disk_destroy(struct disk *d);

/* The `at`-th operation from now on (1: the next) among those of the kinds `operations` meets `fault`; for_good: so do
 * all that follow. One fault at a time, this one replaces what was set. */
void disk_set_fault(struct disk *d, disk_fault fault, int operations, uint64_t at, int for_good);
/* How many operations of the fault's kinds there were since it was set, and how many met it. With DISK_NO_FAULT as
 * well, which is for counting. */
uint64_t disk_operations(const struct disk *d);
uint64_t disk_faults(const struct disk *d);
/* No file may grow the sum of all beyond this; 0: no bound. */
void disk_set_capacity(struct disk *d, uint64_t bytes);
uint64_t disk_bytes(const struct disk *d);

/* The machine crashes now, if it has not yet, and starts again: what is pending is settled by the seed, faults are
 * forgotten. No file may be open. */
void disk_restart(struct disk *d, uint64_t seed);

/* The process was killed, and the machine lives on: as disk_restart(), but what is pending stays so. */
void disk_revive(struct disk *d);

/* All that a disk holds, pending or not, to come back to: for many seeds of one crash. No file may be open. */
disk_image *disk_save(const struct disk *d);
void disk_load(struct disk *d, const disk_image *image);
void disk_image_free(disk_image *image); /* NULL is fine */

#endif
