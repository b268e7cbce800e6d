/* SPDX-License-Identifier: Apache-2.0
 *
 * See disk.h. Each file has the bytes that readers see (`now`), those that are on the disk for good (`durable`), and
 * the pieces in between, in the order in which they were written. Any failure of the test's own ends the program. */
#include "support/disk.h"

#include "base/rng.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SECTOR = 512, SHM_LOCKS = 8, PATH_BYTES = 512 };

struct content {
    unsigned char *data;
    uint64_t bytes, capacity;
};

/* A write within one sector, or (bytes 0) a new size. */
struct piece {
    uint64_t number; /* over all files, in order */
    uint64_t offset; /* or size */
    uint32_t bytes;
    int lost; /* a sync failed on it: see D3 */
    unsigned char data[SECTOR];
};

struct node {
    char name[PATH_BYTES];
    int durable_name;    /* in its folder for good */
    int removed;         /* no longer in the folder, which was not synced since */
    int syncs_folder;    /* a journal or log that was just made: its first sync is one of the folder too */
    unsigned open, maps; /* handles; handles that have mapped the shared memory */
    struct content now, durable;
    struct piece *piece;
    size_t pieces, piece_capacity;
    unsigned shared; /* handles with at least a shared lock */
    const void *reserved, *pending, *exclusive;
    unsigned shm_shared[SHM_LOCKS];
    const void *shm_exclusive[SHM_LOCKS];
    void **region;
    int regions, region_bytes;
    struct node *next;
};

struct disk {
    sqlite3_vfs vfs;
    char *name;
    int powersafe, dead;
    pthread_mutex_t mutex;
    struct node *nodes;
    uint64_t pieces_made, capacity;
    disk_fault fault;
    int operations, for_good;
    uint64_t at, counted, met;
};

struct disk_image {
    struct node *nodes;
    uint64_t pieces_made;
    int dead;
};

typedef struct handle {
    sqlite3_file base;
    struct disk *disk;
    struct node *node;
    int lock, mapped, remove_at_close;
    unsigned shm_shared, shm_exclusive; /* bits: locks that this handle holds */
} handle;

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void *need(void *memory) {
    if (memory) return memory;
    fprintf(stderr, "disk: no memory for the test itself\n");
    abort();
}

static void must(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "disk: %s\n", what);
    abort();
}

static void content_size(struct content *content, uint64_t bytes) {
    if (bytes > content->capacity) {
        content->capacity = bytes + bytes / 2 + 4096;
        content->data = need(realloc(content->data, content->capacity));
    }
    if (bytes > content->bytes) memset(content->data + content->bytes, 0, bytes - content->bytes);
    content->bytes = bytes;
}

static void content_write(struct content *content, uint64_t offset, const void *data, uint64_t bytes) {
    if (offset + bytes > content->bytes) content_size(content, offset + bytes);
    memcpy(content->data + offset, data, bytes);
}

static struct content content_copy(const struct content *from) {
    struct content to = {NULL, 0, 0};
    if (from->bytes) content_write(&to, 0, from->data, from->bytes);
    return to;
}

static void node_free(struct node *node) {
    for (int i = 0; i < node->regions; i++) free(node->region[i]);
    free(node->region);
    free(node->now.data);
    free(node->durable.data);
    free(node->piece);
    free(node);
}

static void nodes_free(struct node *node) {
    while (node) {
        struct node *next = node->next;
        node_free(node);
        node = next;
    }
}

static struct node *nodes_copy(const struct node *from) {
    struct node *first = NULL, **end = &first;
    for (; from; from = from->next, end = &(*end)->next) {
        must(from->open == 0, "a file is open while the disk is copied");
        struct node *to = need(calloc(1, sizeof(*to)));
        memcpy(to->name, from->name, sizeof(to->name));
        to->durable_name = from->durable_name, to->removed = from->removed;
        to->syncs_folder = from->syncs_folder;
        to->now = content_copy(&from->now), to->durable = content_copy(&from->durable);
        if (from->pieces) {
            to->piece = need(malloc(from->pieces * sizeof(*to->piece)));
            memcpy(to->piece, from->piece, from->pieces * sizeof(*to->piece));
        }
        to->pieces = to->piece_capacity = from->pieces;
        *end = to;
    }
    return first;
}

/* ---- Files ------------------------------------------------------------------------------------------------------- */

static struct node *find(const struct disk *d, const char *name) {
    for (struct node *node = d->nodes; node; node = node->next)
        if (!node->removed && strcmp(node->name, name) == 0) return node;
    return NULL;
}

static struct node *make(struct disk *d, const char *name) {
    struct node *node = need(calloc(1, sizeof(*node)));
    must(strlen(name) < sizeof(node->name), "a name is too long");
    memcpy(node->name, name, strlen(name) + 1);
    node->next = d->nodes;
    d->nodes = node;
    return node;
}

static void unlink_node(struct disk *d, struct node *node) {
    for (struct node **place = &d->nodes; *place; place = &(*place)->next)
        if (*place == node) {
            *place = node->next;
            node_free(node);
            return;
        }
}

static struct piece *add_piece(struct disk *d, struct node *node) {
    if (node->pieces == node->piece_capacity) {
        node->piece_capacity = 2 * node->piece_capacity + 16;
        node->piece = need(realloc(node->piece, node->piece_capacity * sizeof(*node->piece)));
    }
    struct piece *piece = &node->piece[node->pieces++];
    memset(piece, 0, sizeof(*piece));
    piece->number = ++d->pieces_made;
    return piece;
}

static void write_pieces(struct disk *d, struct node *node, uint64_t offset, const unsigned char *data,
                         uint64_t bytes) {
    content_write(&node->now, offset, data, bytes);
    while (bytes) {
        const uint64_t room = SECTOR - offset % SECTOR, part = bytes < room ? bytes : room;
        struct piece *piece = add_piece(d, node);
        piece->offset = offset;
        piece->bytes = (uint32_t)part;
        memcpy(piece->data, data, part);
        offset += part, data += part, bytes -= part;
    }
}

static void settle_piece(struct node *node, const struct piece *piece) {
    if (piece->bytes)
        content_write(&node->durable, piece->offset, piece->data, piece->bytes);
    else
        content_size(&node->durable, piece->offset);
}

/* Whether a sector is written again behind a lost piece: its page is then dirty as a whole. */
static int written_again(const struct node *node, size_t lost) {
    const struct piece *piece = &node->piece[lost];
    for (size_t i = lost + 1; i < node->pieces; i++) {
        const struct piece *later = &node->piece[i];
        if (!later->lost && (!piece->bytes || (later->bytes && later->offset / SECTOR == piece->offset / SECTOR)))
            return 1;
    }
    return 0;
}

/* What is in the folder now is there for good, and what was removed is gone. */
static void sync_folder(struct disk *d) {
    for (struct node *node = d->nodes; node; node = node->next) node->durable_name = !node->removed;
}

static void sync_node(struct disk *d, struct node *node) {
    size_t kept = 0;
    for (size_t i = 0; i < node->pieces; i++) {
        if (node->piece[i].lost && !written_again(node, i))
            node->piece[kept++] = node->piece[i];
        else
            settle_piece(node, &node->piece[i]);
    }
    node->pieces = kept;
    if (node->syncs_folder) sync_folder(d);
    node->syncs_folder = 0;
}

/* ---- Faults ------------------------------------------------------------------------------------------------------ */

/* Under the mutex: what this operation meets. */
static disk_fault meet(struct disk *d, int operation) {
    if (d->dead) return DISK_CRASH;
    if (!(d->operations & operation)) return DISK_NO_FAULT;
    d->counted++;
    if (d->fault == DISK_NO_FAULT) return DISK_NO_FAULT;
    if (d->counted != d->at && !(d->for_good && d->counted > d->at)) return DISK_NO_FAULT;
    d->met++;
    if (d->fault == DISK_CRASH) d->dead = 1;
    return d->fault;
}

static uint64_t all_bytes(const struct disk *d) {
    uint64_t sum = 0;
    for (const struct node *node = d->nodes; node; node = node->next) sum += node->removed ? 0 : node->now.bytes;
    return sum;
}

/* ---- The methods of an open file --------------------------------------------------------------------------------- */

static int handle_read(sqlite3_file *file, void *data, int bytes, sqlite3_int64 offset) {
    handle *h = (handle *)file;
    const struct content *now = &h->node->now;
    int status = SQLITE_OK;
    pthread_mutex_lock(&h->disk->mutex);
    if (meet(h->disk, DISK_READ) != DISK_NO_FAULT) {
        status = SQLITE_IOERR_READ;
    } else {
        const uint64_t from = (uint64_t)offset, wanted = (uint64_t)bytes;
        const uint64_t there = from >= now->bytes ? 0 : now->bytes - from < wanted ? now->bytes - from : wanted;
        if (there) memcpy(data, now->data + from, there);
        if (there < wanted) {
            memset((char *)data + there, 0, wanted - there);
            status = SQLITE_IOERR_SHORT_READ;
        }
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

static int handle_write(sqlite3_file *file, const void *data, int bytes, sqlite3_int64 offset) {
    handle *h = (handle *)file;
    struct disk *d = h->disk;
    struct node *node = h->node;
    uint64_t from = (uint64_t)offset, length = (uint64_t)bytes;
    int status = SQLITE_OK;
    pthread_mutex_lock(&d->mutex);
    const disk_fault fault = meet(d, DISK_WRITE);
    const uint64_t end = from + length, grows = end > node->now.bytes ? end - node->now.bytes : 0;
    if (fault == DISK_FULL || (grows && d->capacity && all_bytes(d) + grows > d->capacity)) {
        status = SQLITE_FULL;
    } else if (fault == DISK_SHORT) {
        write_pieces(d, node, from, data, length / 2);
        status = SQLITE_FULL;
    } else if (fault == DISK_NO_FAULT) {
        write_pieces(d, node, from, data, length);
    } else {
        status = SQLITE_IOERR_WRITE;
    }
    pthread_mutex_unlock(&d->mutex);
    return status;
}

static int handle_truncate(sqlite3_file *file, sqlite3_int64 size) {
    handle *h = (handle *)file;
    int status = SQLITE_OK;
    pthread_mutex_lock(&h->disk->mutex);
    if (meet(h->disk, DISK_TRUNCATE) != DISK_NO_FAULT) {
        status = SQLITE_IOERR_TRUNCATE;
    } else {
        content_size(&h->node->now, (uint64_t)size);
        add_piece(h->disk, h->node)->offset = (uint64_t)size;
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

static int handle_sync(sqlite3_file *file, int flags) {
    handle *h = (handle *)file;
    int status = SQLITE_OK;
    (void)flags;
    pthread_mutex_lock(&h->disk->mutex);
    const disk_fault fault = meet(h->disk, DISK_SYNC);
    if (fault == DISK_NO_FAULT) {
        sync_node(h->disk, h->node);
    } else {
        status = SQLITE_IOERR_FSYNC;
        if (fault != DISK_CRASH)
            for (size_t i = 0; i < h->node->pieces; i++) h->node->piece[i].lost = 1;
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

static int handle_size(sqlite3_file *file, sqlite3_int64 *size) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->disk->mutex);
    const int status = h->disk->dead ? SQLITE_IOERR_FSTAT : SQLITE_OK;
    *size = (sqlite3_int64)h->node->now.bytes;
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

/* SQLite's five kinds of locks on the file, between handles of this process. */
static int handle_lock(sqlite3_file *file, int wanted) {
    handle *h = (handle *)file;
    struct node *node = h->node;
    int status = SQLITE_OK;
    pthread_mutex_lock(&h->disk->mutex);
    if (h->disk->dead) {
        status = SQLITE_IOERR_LOCK;
    } else if (wanted > h->lock) {
        const int others = node->shared > (h->lock >= SQLITE_LOCK_SHARED ? 1u : 0u);
        const int held = (node->exclusive && node->exclusive != h) || (node->pending && node->pending != h);
        if (held || (wanted >= SQLITE_LOCK_RESERVED && node->reserved && node->reserved != h)) {
            status = SQLITE_BUSY;
        } else {
            if (h->lock < SQLITE_LOCK_SHARED) node->shared++;
            if (wanted >= SQLITE_LOCK_RESERVED) node->reserved = h;
            if (wanted >= SQLITE_LOCK_PENDING) node->pending = h;
            if (wanted == SQLITE_LOCK_EXCLUSIVE && others) {
                h->lock = SQLITE_LOCK_PENDING;
                status = SQLITE_BUSY;
            } else {
                if (wanted == SQLITE_LOCK_EXCLUSIVE) node->exclusive = h;
                h->lock = wanted;
            }
        }
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

static int handle_unlock(sqlite3_file *file, int wanted) {
    handle *h = (handle *)file;
    struct node *node = h->node;
    pthread_mutex_lock(&h->disk->mutex);
    if (wanted < h->lock) {
        if (node->exclusive == h) node->exclusive = NULL;
        if (node->pending == h) node->pending = NULL;
        if (node->reserved == h) node->reserved = NULL;
        if (wanted == SQLITE_LOCK_NONE) node->shared--;
        h->lock = wanted;
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return SQLITE_OK;
}

static int handle_reserved(sqlite3_file *file, int *reserved) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->disk->mutex);
    *reserved = h->node->reserved != NULL;
    pthread_mutex_unlock(&h->disk->mutex);
    return SQLITE_OK;
}

static int handle_control(sqlite3_file *file, int operation, void *argument) {
    (void)file, (void)operation, (void)argument;
    return SQLITE_NOTFOUND;
}

static int handle_sector(sqlite3_file *file) {
    (void)file;
    return SECTOR;
}

static int handle_traits(sqlite3_file *file) {
    return ((handle *)file)->disk->powersafe ? SQLITE_IOCAP_POWERSAFE_OVERWRITE : 0;
}

/* ---- Shared memory: the index of the write-ahead log ------------------------------------------------------------- */

static int shm_map(sqlite3_file *file, int number, int bytes, int extend, void volatile **region) {
    handle *h = (handle *)file;
    struct node *node = h->node;
    int status = SQLITE_OK;
    pthread_mutex_lock(&h->disk->mutex);
    if (!h->mapped) {
        h->mapped = 1;
        node->maps++;
    }
    *region = NULL;
    if (h->disk->dead) {
        status = SQLITE_IOERR_SHMMAP;
    } else {
        if (number >= node->regions && extend) {
            node->region = need(realloc(node->region, ((size_t)number + 1) * sizeof(*node->region)));
            while (node->regions <= number) node->region[node->regions++] = need(calloc(1, (size_t)bytes));
        }
        if (number < node->regions) *region = node->region[number];
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

static void shm_release(handle *h, unsigned bits) {
    for (unsigned i = 0; i < SHM_LOCKS; i++) {
        const unsigned bit = 1u << i & bits;
        if (h->shm_exclusive & bit) h->node->shm_exclusive[i] = NULL;
        if (h->shm_shared & bit) h->node->shm_shared[i]--;
        h->shm_exclusive &= ~bit;
        h->shm_shared &= ~bit;
    }
}

static int shm_lock(sqlite3_file *file, int first, int count, int flags) {
    handle *h = (handle *)file;
    struct node *node = h->node;
    const unsigned bits = ((1u << count) - 1) << first;
    int status = SQLITE_OK;
    pthread_mutex_lock(&h->disk->mutex);
    if (flags & SQLITE_SHM_UNLOCK) {
        shm_release(h, bits);
    } else {
        for (int i = first; i < first + count; i++) {
            const unsigned mine = h->shm_shared >> i & 1;
            if (node->shm_exclusive[i] && node->shm_exclusive[i] != h) status = SQLITE_BUSY;
            if (flags & SQLITE_SHM_EXCLUSIVE && node->shm_shared[i] > mine) status = SQLITE_BUSY;
        }
        for (int i = first; status == SQLITE_OK && i < first + count; i++) {
            const unsigned bit = 1u << i;
            if (flags & SQLITE_SHM_EXCLUSIVE) {
                node->shm_exclusive[i] = h;
                h->shm_exclusive |= bit;
            } else if (!(h->shm_shared & bit)) {
                node->shm_shared[i]++;
                h->shm_shared |= bit;
            }
        }
    }
    pthread_mutex_unlock(&h->disk->mutex);
    return status;
}

static void shm_barrier(sqlite3_file *file) {
    handle *h = (handle *)file;
    pthread_mutex_lock(&h->disk->mutex);
    pthread_mutex_unlock(&h->disk->mutex);
}

static int shm_unmap(sqlite3_file *file, int remove) {
    handle *h = (handle *)file;
    struct node *node = h->node;
    (void)remove; /* the last to leave ends it in any case: the first to come would begin it anew */
    pthread_mutex_lock(&h->disk->mutex);
    shm_release(h, ~0u);
    if (h->mapped && --node->maps == 0) {
        for (int i = 0; i < node->regions; i++) free(node->region[i]);
        free(node->region);
        node->region = NULL;
        node->regions = 0;
    }
    h->mapped = 0;
    pthread_mutex_unlock(&h->disk->mutex);
    return SQLITE_OK;
}

/* SQLite closes files that it has still locked when a disk is gone. */
static int handle_close(sqlite3_file *file) {
    handle *h = (handle *)file;
    handle_unlock(file, SQLITE_LOCK_NONE);
    shm_unmap(file, 0);
    pthread_mutex_lock(&h->disk->mutex);
    struct node *node = h->node;
    node->open--;
    if (!node->open && (h->remove_at_close || (node->removed && !node->durable_name))) unlink_node(h->disk, node);
    pthread_mutex_unlock(&h->disk->mutex);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {.iVersion = 2,
                                           .xClose = handle_close,
                                           .xRead = handle_read,
                                           .xWrite = handle_write,
                                           .xTruncate = handle_truncate,
                                           .xSync = handle_sync,
                                           .xFileSize = handle_size,
                                           .xLock = handle_lock,
                                           .xUnlock = handle_unlock,
                                           .xCheckReservedLock = handle_reserved,
                                           .xFileControl = handle_control,
                                           .xSectorSize = handle_sector,
                                           .xDeviceCharacteristics = handle_traits,
                                           .xShmMap = shm_map,
                                           .xShmLock = shm_lock,
                                           .xShmBarrier = shm_barrier,
                                           .xShmUnmap = shm_unmap};

/* ---- The methods of the file system ------------------------------------------------------------------------------ */

static struct disk *disk_of(sqlite3_vfs *vfs) {
    return vfs->pAppData;
}

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out_flags) {
    struct disk *d = disk_of(vfs);
    handle *h = (handle *)file;
    char unnamed[40];
    memset(h, 0, sizeof(*h));
    int status = SQLITE_OK;
    pthread_mutex_lock(&d->mutex);
    if (!name) {
        snprintf(unnamed, sizeof(unnamed), "(unnamed %llu)", (unsigned long long)++d->pieces_made);
        name = unnamed;
    }
    struct node *node = find(d, name);
    if (d->dead || (!node && !(flags & SQLITE_OPEN_CREATE)) || (node && flags & SQLITE_OPEN_EXCLUSIVE))
        status = SQLITE_CANTOPEN;
    if (status == SQLITE_OK && !node) {
        const disk_fault fault = meet(d, DISK_MAKE);
        if (fault == DISK_NO_FAULT) {
            node = make(d, name);
            node->syncs_folder = (flags & (SQLITE_OPEN_MAIN_JOURNAL | SQLITE_OPEN_WAL)) != 0;
        } else {
            status = fault == DISK_FULL || fault == DISK_SHORT ? SQLITE_FULL : SQLITE_CANTOPEN;
        }
    }
    if (status == SQLITE_OK) {
        node->open++;
        h->base.pMethods = &methods;
        h->disk = d;
        h->node = node;
        h->remove_at_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
        if (out_flags) *out_flags = flags;
    }
    pthread_mutex_unlock(&d->mutex);
    return status;
}

static int vfs_remove(sqlite3_vfs *vfs, const char *name, int with_folder) {
    struct disk *d = disk_of(vfs);
    int status = SQLITE_OK;
    pthread_mutex_lock(&d->mutex);
    struct node *node = find(d, name);
    if (meet(d, DISK_REMOVE) != DISK_NO_FAULT) {
        status = SQLITE_IOERR_DELETE;
    } else if (!node) {
        status = SQLITE_IOERR_DELETE_NOENT;
    } else {
        node->removed = 1;
        if (with_folder) sync_folder(d);
        if (!node->durable_name && !node->open) unlink_node(d, node);
    }
    pthread_mutex_unlock(&d->mutex);
    return status;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result) {
    struct disk *d = disk_of(vfs);
    (void)flags;
    pthread_mutex_lock(&d->mutex);
    const struct node *node = find(d, name);
    /* As SQLite's own: an empty file does not count as one that exists. */
    *result = node && (flags != SQLITE_ACCESS_EXISTS || node->now.bytes > 0);
    const int status = d->dead ? SQLITE_IOERR_ACCESS : SQLITE_OK;
    pthread_mutex_unlock(&d->mutex);
    return status;
}

static int vfs_path(sqlite3_vfs *vfs, const char *name, int bytes, char *path) {
    (void)vfs;
    return snprintf(path, (size_t)bytes, "%s", name) < bytes ? SQLITE_OK : SQLITE_CANTOPEN;
}

static sqlite3_vfs *usual(void) {
    return sqlite3_vfs_find(NULL);
}

static int vfs_randomness(sqlite3_vfs *vfs, int bytes, char *to) {
    (void)vfs;
    memset(to, 0x5a, (size_t)bytes);
    return bytes;
}

static int vfs_sleep(sqlite3_vfs *vfs, int us) {
    (void)vfs;
    return usual()->xSleep(usual(), us);
}

static int vfs_time(sqlite3_vfs *vfs, double *now) {
    (void)vfs;
    return usual()->xCurrentTime(usual(), now);
}

static int vfs_last_error(sqlite3_vfs *vfs, int bytes, char *text) {
    (void)vfs, (void)bytes, (void)text;
    return 0;
}

static int vfs_time64(sqlite3_vfs *vfs, sqlite3_int64 *now) {
    (void)vfs;
    return usual()->xCurrentTimeInt64(usual(), now);
}

/* ---- The disk ---------------------------------------------------------------------------------------------------- */

struct disk *disk_create(const char *name, int powersafe) {
    struct disk *d = need(calloc(1, sizeof(*d)));
    d->name = need(strdup(name));
    d->powersafe = powersafe;
    d->operations = DISK_CHANGES;
    pthread_mutex_init(&d->mutex, NULL);
    d->vfs = (sqlite3_vfs){.iVersion = 2,
                           .szOsFile = (int)sizeof(handle),
                           .mxPathname = PATH_BYTES - 1,
                           .zName = d->name,
                           .pAppData = d,
                           .xOpen = vfs_open,
                           .xDelete = vfs_remove,
                           .xAccess = vfs_access,
                           .xFullPathname = vfs_path,
                           .xRandomness = vfs_randomness,
                           .xSleep = vfs_sleep,
                           .xCurrentTime = vfs_time,
                           .xGetLastError = vfs_last_error,
                           .xCurrentTimeInt64 = vfs_time64};
    must(sqlite3_vfs_register(&d->vfs, 0) == SQLITE_OK, "SQLite did not take the file system");
    return d;
}

void disk_destroy(struct disk *d) {
    sqlite3_vfs_unregister(&d->vfs);
    for (const struct node *node = d->nodes; node; node = node->next)
        must(node->open == 0, "a file is open while the disk is ended");
    nodes_free(d->nodes);
    pthread_mutex_destroy(&d->mutex);
    free(d->name);
    free(d);
}

void disk_set_fault(struct disk *d, disk_fault fault, int operations, uint64_t at, int for_good) {
    pthread_mutex_lock(&d->mutex);
    d->fault = fault;
    d->operations = operations;
    d->at = at;
    d->for_good = for_good;
    d->counted = d->met = 0;
    pthread_mutex_unlock(&d->mutex);
}

uint64_t disk_operations(const struct disk *d) {
    return d->counted;
}

uint64_t disk_faults(const struct disk *d) {
    return d->met;
}

void disk_set_capacity(struct disk *d, uint64_t bytes) {
    d->capacity = bytes;
}

uint64_t disk_bytes(const struct disk *d) {
    return all_bytes(d);
}

/* ---- Crashes ----------------------------------------------------------------------------------------------------- */

enum { ALL_DROPPED, ALL_KEPT, PREFIX, SOME, SOME_TORN, SETTLINGS };

/* One piece at the crash: kept, dropped, or torn into what was written and what was there before. */
static void settle_by_chance(const struct disk *d, struct node *node, const struct piece *piece, int tear,
                             ki_rng *rng) {
    struct piece torn = *piece;
    if (!tear || !piece->bytes) {
        settle_piece(node, piece);
    } else if (d->powersafe) {
        const uint32_t cut = (uint32_t)ki_rng_below(rng, piece->bytes + 1);
        if (ki_rng_below(rng, 2) == 0) { /* its beginning */
            torn.bytes = cut;
        } else {
            torn.bytes -= cut;
            torn.offset += cut;
            memmove(torn.data, piece->data + cut, torn.bytes);
        }
        if (torn.bytes) settle_piece(node, &torn);
    } else {
        torn.offset -= torn.offset % SECTOR;
        torn.bytes = SECTOR;
        for (uint32_t i = 0; i < SECTOR; i++) torn.data[i] = (unsigned char)ki_rng_next(rng);
        const uint64_t size = node->durable.bytes, end = piece->offset + piece->bytes;
        settle_piece(node, &torn);
        content_size(&node->durable, end > size ? end : size);
    }
}

static void settle_node(const struct disk *d, struct node *node, int how, uint64_t cut, ki_rng *rng) {
    for (size_t i = 0; i < node->pieces; i++) {
        const struct piece *piece = &node->piece[i];
        int keep = how == ALL_KEPT, tear = 0;
        if (how == PREFIX) keep = piece->number <= cut, tear = piece->number == cut;
        if (how >= SOME) keep = ki_rng_below(rng, 2) == 0;
        if (how == SOME_TORN) tear = ki_rng_below(rng, 4) == 0;
        if (keep) settle_by_chance(d, node, piece, tear, rng);
    }
    node->pieces = 0;
    free(node->now.data);
    node->now = content_copy(&node->durable);
}

void disk_restart(struct disk *d, uint64_t seed) {
    const int how = (int)(seed % SETTLINGS);
    ki_rng rng = {seed * 0x51ED270B + 1};
    uint64_t least = UINT64_MAX, most = 0;
    for (const struct node *node = d->nodes; node; node = node->next) {
        must(node->open == 0, "a file is open while the disk is started again");
        for (size_t i = 0; i < node->pieces; i++) {
            if (node->piece[i].number < least) least = node->piece[i].number;
            if (node->piece[i].number > most) most = node->piece[i].number;
        }
    }
    const uint64_t cut = most ? least + ki_rng_below(&rng, most - least + 1) : 0;
    for (struct node **place = &d->nodes; *place;) {
        struct node *node = *place;
        const int chance = how == ALL_KEPT || (how != ALL_DROPPED && ki_rng_below(&rng, 2) == 0);
        /* A new file may be gone, a removed one there again, unless another has its name. */
        int there = node->removed ? node->durable_name && !chance : node->durable_name || chance;
        if (node->removed && there && find(d, node->name)) there = 0;
        if (!there) {
            *place = node->next;
            node_free(node);
            continue;
        }
        node->removed = 0;
        node->durable_name = 1;
        settle_node(d, node, how, cut, &rng);
        place = &node->next;
    }
    disk_revive(d);
}

void disk_revive(struct disk *d) {
    d->dead = 0;
    disk_set_fault(d, DISK_NO_FAULT, DISK_CHANGES, 0, 0);
}

/* ---- Copies ------------------------------------------------------------------------------------------------------ */

disk_image *disk_save(const struct disk *d) {
    disk_image *image = need(calloc(1, sizeof(*image)));
    image->nodes = nodes_copy(d->nodes);
    image->pieces_made = d->pieces_made;
    image->dead = d->dead;
    return image;
}

void disk_load(struct disk *d, const disk_image *image) {
    nodes_free(d->nodes);
    d->nodes = nodes_copy(image->nodes);
    d->pieces_made = image->pieces_made;
    d->dead = image->dead;
}

void disk_image_free(disk_image *image) {
    if (!image) return;
    nodes_free(image->nodes);
    free(image);
}
