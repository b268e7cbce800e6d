/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of this room share. On the disk:
 *
 *     shelf/shop/                    a collection
 *     shelf/=c3a9/                   one whose name is no plain word: "=" and the name in hex
 *     shelf/.shelf/aliases.json      {"aliases": {"alias": "collection"}}
 *     shelf/.shelf/kept/shop.qdrant  a text that is kept about a collection
 *     shelf/.shelf/snapshots/shop/   snapshots, which a drop leaves: they are what undoes it
 *     shelf/.shelf/making/, dropped/ what is being made and removed
 *
 * Where the shelf is one collection's folder, .shelf lies within it, and its collection is called "own" there.
 *
 * 1. A collection is there when its folder has its name in the shelf: it is made in making/ and renamed, and dropped by
 *    renaming it to dropped/. What lies in either when the shelf is opened is what a crash left, and goes.
 * 2. A text is kept, and aliases are what they are, when the file has been renamed. Texts and aliases of collections
 *    whose folder is not there are what a crash left, and go when the shelf is opened.
 * 3. `changing` is held by whoever changes the disk; `lock` guards what is in memory, and is taken last.
 * 4. A collection that is dropped keeps the path that it was opened by, and may still write there until it is closed:
 *    so another one of that folder is made only then. */
#ifndef KITH_SERVER_SHELF_INNER_H
#define KITH_SERVER_SHELF_INNER_H

#include "shelf/shelf.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    KS_ALIASES_MAX = 10000,
    KS_KEPT_MAX = 1 << 20, /* bytes of a text */
    KS_WHAT_MAX = 32,      /* bytes of what it is called */
    KS_FOLDER_MAX = 1 + 2 * KS_NAME_MAX
};

#define KS_SHELF_OWN "own"

/* A collection on the shelf; shop is its first member, so that one is the other. */
typedef struct ks_slot {
    ks_shop shop;
    atomic_uint borrowed; /* the shelf's own included, which a drop gives back */
    atomic_int dropped;
    int left; /* guarded by leaving_lock: nobody has it any more */
    char name[KS_NAME_MAX + 1], folder[KS_FOLDER_MAX + 1], grave[24];
    struct ks_slot *next; /* of those that leave */
} ks_slot;

typedef struct ks_alias_row {
    char alias[KS_NAME_MAX + 1], collection[KS_NAME_MAX + 1];
} ks_alias_row;

struct ks_shelf {
    char *path;     /* absolute */
    int fd, own_fd; /* the folder, and .shelf in it: -1 where there is none and nothing may be written */
    int one;
    ks_shelf_options options;
    pthread_mutex_t changing;
    unsigned numbers; /* given so far */
    pthread_rwlock_t lock;
    ks_slot **slots; /* by name */
    size_t count;
    ks_alias_row *aliases; /* by alias */
    size_t alias_count;
    /* Those that were dropped, until they are gone; a thread closes and removes them. */
    pthread_mutex_t leaving_lock;
    pthread_cond_t leaving_changed;
    ks_slot *leaving;
    int closing, has_reaper;
    pthread_t reaper;
};

/* The same with the system's reason: NOSPACE, NOTFOUND or IO. */
kith_status ks_shelf_fail_errno(kith_error *error, int number, const char *what, const char *name);

/* ---- name.c */

int ks_name_valid(const char *name);
void ks_name_folder(const char *name, char folder[KS_FOLDER_MAX + 1]);
/* Of a folder that a collection may have: 1, or 0. */
int ks_name_of_folder(const char *folder, char name[KS_NAME_MAX + 1]);

/* ---- file.c: folders beneath `fd`, by one name */

int ks_file_folder(int fd, const char *name);      /* opened; -1 and errno */
int ks_file_make_folder(int fd, const char *name); /* made if it is not there, and opened */
int ks_file_exists(int fd, const char *name);
int ks_file_remove(int fd, const char *name);                           /* with all that is in it; 0, or -1 and errno */
int ks_file_rename(int from, const char *name, int to, const char *as); /* and synced; nothing is replaced */
/* The file becomes these bytes, whole or not at all. The caller holds `changing`. */
int ks_file_write(int fd, const char *name, const char *bytes, size_t count);
/* Its bytes, ended by a zero: to be freed. -1 and errno; EFBIG beyond max. */
int ks_file_read(int fd, const char *name, size_t max, char **bytes, size_t *count);
/* Names in a folder, sorted, but for "." and "..": an array that ends in NULL, each and all to be freed. */
char **ks_file_names(int fd);
void ks_file_names_free(char **names);
char *ks_file_join(const char *folder, const char *name); /* "folder/name" */

/* ---- shelf.c */

kith_status ks_slot_open(ks_shelf *shelf, const char *folder, const char *name, ks_slot **slot, kith_error *error);
void ks_slot_close(ks_slot *slot);
/* Where a name is, or would be: 1 when it is there. Under `lock`. */
int ks_slot_find(const ks_shelf *shelf, const char *name, size_t *place);
int ks_alias_find(const ks_shelf *shelf, const char *alias, size_t *place);

/* ---- alias.c, keep.c, leave.c */

kith_status ks_aliases_read(ks_shelf *shelf, kith_error *error);
/* Forget those of a collection. Under `changing`. */
kith_status ks_aliases_forget(ks_shelf *shelf, const char *collection, kith_error *error);
void ks_kept_forget(const ks_shelf *shelf, const char *folder); /* NULL: of all whose folder is not there */
kith_status ks_leaving_start(ks_shelf *shelf, kith_error *error);
void ks_leaving_stop(ks_shelf *shelf); /* all that leave are gone then */
void ks_leaving_add(ks_shelf *shelf, ks_slot *slot);
/* Wait until none of that folder leaves: whether that was so within the time. */
int ks_leaving_wait(ks_shelf *shelf, const char *folder, unsigned seconds);

#endif
