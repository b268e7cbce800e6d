/* SPDX-License-Identifier: Apache-2.0
 *
 * Aliases: rows sorted by alias, and a file of them all, which is written anew with every change. */
#define _GNU_SOURCE
#include "error/error.h"
#include "shelf/inner.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIASES "aliases.json"

enum { FILE_MAX = 8 << 20 };

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

static int folder_is_there(const ks_shelf *shelf, const char *collection) {
    char folder[KS_FOLDER_MAX + 1];
    size_t place;
    if (ks_slot_find(shelf, collection, &place)) return 1;
    ks_name_folder(collection, folder);
    return ks_file_exists(shelf->fd, folder) || ks_file_exists(shelf->fd, collection);
}

static int by_alias(const void *a, const void *b) {
    return strcmp(((const ks_alias_row *)a)->alias, ((const ks_alias_row *)b)->alias);
}

static kith_status take_rows(ks_shelf *shelf, const json_t *object, kith_error *error) {
    const char *alias;
    json_t *value;
    const size_t count = json_object_size(object);
    if (count > KS_ALIASES_MAX)
        return ks_error(error, KITH_E_CORRUPT, "%s/.shelf/" ALIASES ": more than %d aliases", shelf->path,
                        KS_ALIASES_MAX);
    shelf->aliases = calloc(count + 1, sizeof(*shelf->aliases));
    if (!shelf->aliases) return ks_error(error, KITH_E_NOMEM, "out of memory");
    json_object_foreach((json_t *)object, alias, value) {
        const char *collection = json_string_value(value);
        size_t place;
        if (!ks_name_valid(alias) || !ks_name_valid(collection))
            return ks_error(error, KITH_E_CORRUPT,
                            "%s/.shelf/" ALIASES ": \"%.64s\" must be a name, and have a collection's name",
                            shelf->path, alias);
        /* A folder that was moved is the one collection still. */
        if (shelf->one) collection = shelf->slots[0]->name;
        if (!folder_is_there(shelf, collection) || ks_slot_find(shelf, alias, &place)) continue;
        ks_alias_row *row = &shelf->aliases[shelf->alias_count++];
        snprintf(row->alias, sizeof(row->alias), "%s", alias);
        snprintf(row->collection, sizeof(row->collection), "%s", collection);
    }
    if (shelf->alias_count) qsort(shelf->aliases, shelf->alias_count, sizeof(*shelf->aliases), by_alias);
    return KITH_OK;
}

kith_status ks_aliases_read(ks_shelf *shelf, kith_error *error) {
    char *bytes = NULL;
    size_t count = 0;
    json_error_t why;
    if (shelf->own_fd < 0) return KITH_OK;
    if (ks_file_read(shelf->own_fd, ALIASES, FILE_MAX, &bytes, &count) != 0)
        return errno == ENOENT ? KITH_OK
                               : ks_shelf_fail_errno(error, errno, "cannot read .shelf/" ALIASES " of", shelf->path);
    json_t *root = json_loadb(bytes, count, JSON_REJECT_DUPLICATES, &why);
    const json_t *object = json_object_get(root, "aliases");
    kith_status status;
    if (!root)
        status = ks_error(error, KITH_E_CORRUPT, "%s/.shelf/" ALIASES ": line %d, column %d: %s", shelf->path, why.line,
                          why.column, why.text);
    else if (!json_is_object(object))
        status = ks_error(error, KITH_E_CORRUPT, "%s/.shelf/" ALIASES ": there is no object \"aliases\"", shelf->path);
    else
        status = take_rows(shelf, object, error);
    json_decref(root);
    free(bytes);
    return status;
}

/* ---- Changing ---------------------------------------------------------------------------------------------------- */

/* The rows as they will be. */
struct rows {
    ks_alias_row *row;
    size_t count;
};

static char *encode(const struct rows *rows) {
    json_t *root = json_object(), *object = json_object();
    char *text = NULL;
    int failed = json_object_set_new(root, "aliases", object) != 0;
    for (size_t i = 0; i < rows->count && !failed; i++)
        failed = json_object_set_new(object, rows->row[i].alias, json_string(rows->row[i].collection)) != 0;
    if (!failed) text = json_dumps(root, JSON_INDENT(1) | JSON_SORT_KEYS);
    json_decref(root);
    return text;
}

/* They become what is on the disk, then what is in memory. */
static kith_status commit(ks_shelf *shelf, struct rows *rows, kith_error *error) {
    char *text = encode(rows);
    if (!text) return ks_error(error, KITH_E_NOMEM, "out of memory");
    const int failed = ks_file_write(shelf->own_fd, ALIASES, text, strlen(text)) == 0 ? 0 : errno;
    free(text);
    if (failed) return ks_shelf_fail_errno(error, failed, "cannot write .shelf/" ALIASES " of", shelf->path);
    pthread_rwlock_wrlock(&shelf->lock);
    ks_alias_row *old = shelf->aliases;
    shelf->aliases = rows->row;
    shelf->alias_count = rows->count;
    pthread_rwlock_unlock(&shelf->lock);
    rows->row = old;
    return KITH_OK;
}

static size_t row_find(const struct rows *rows, const char *alias) {
    size_t at = 0;
    while (at < rows->count && strcmp(rows->row[at].alias, alias) < 0) at++;
    return at;
}

static kith_status change_one(const ks_shelf *shelf, struct rows *rows, const ks_alias *change, kith_error *error) {
    size_t place;
    if (!ks_name_valid(change->alias))
        return ks_error(error, KITH_E_ARG, "An alias is what a collection's name may be, 1 to %d bytes.", KS_NAME_MAX);
    const size_t at = row_find(rows, change->alias);
    const int there = at < rows->count && strcmp(rows->row[at].alias, change->alias) == 0;
    if (!change->collection) {
        if (!there) return ks_error(error, KITH_E_NOTFOUND, "There is no alias \"%s\" here.", change->alias);
        rows->count--;
        memmove(rows->row + at, rows->row + at + 1, (rows->count - at) * sizeof(*rows->row));
        return KITH_OK;
    }
    if (!ks_slot_find(shelf, change->collection, &place))
        return ks_error(error, KITH_E_NOTFOUND, "There is no collection \"%.64s\" here.", change->collection);
    if (ks_slot_find(shelf, change->alias, &place))
        return ks_error(error, KITH_E_BUSY, "\"%s\" is a collection, and no alias can be called so.", change->alias);
    if (!there) {
        if (rows->count >= KS_ALIASES_MAX)
            return ks_error(error, KITH_E_LIMIT, "There are %d aliases, which is the limit.", KS_ALIASES_MAX);
        memmove(rows->row + at + 1, rows->row + at, (rows->count - at) * sizeof(*rows->row));
        rows->count++;
    }
    snprintf(rows->row[at].alias, sizeof(rows->row[at].alias), "%s", change->alias);
    snprintf(rows->row[at].collection, sizeof(rows->row[at].collection), "%s", change->collection);
    return KITH_OK;
}

/* A copy of the rows with room for more. */
static kith_status copy_rows(const ks_shelf *shelf, size_t more, struct rows *rows, kith_error *error) {
    if (more > KS_ALIASES_MAX) return ks_error(error, KITH_E_LIMIT, "There are %d aliases at most.", KS_ALIASES_MAX);
    rows->row = calloc(shelf->alias_count + more + 1, sizeof(*rows->row));
    if (!rows->row) return ks_error(error, KITH_E_NOMEM, "out of memory");
    rows->count = shelf->alias_count;
    if (rows->count) memcpy(rows->row, shelf->aliases, rows->count * sizeof(*rows->row));
    return KITH_OK;
}

kith_status ks_shelf_alias(ks_shelf *shelf, const ks_alias *changes, size_t count, kith_error *error) {
    struct rows rows = {0};
    if (shelf->options.read_only) return ks_error(error, KITH_E_BUSY, "This server only reads.");
    pthread_mutex_lock(&shelf->changing);
    kith_status status = copy_rows(shelf, count, &rows, error);
    for (size_t i = 0; i < count && status == KITH_OK; i++) status = change_one(shelf, &rows, &changes[i], error);
    if (status == KITH_OK && count) status = commit(shelf, &rows, error);
    pthread_mutex_unlock(&shelf->changing);
    free(rows.row);
    return status;
}

kith_status ks_aliases_forget(ks_shelf *shelf, const char *collection, kith_error *error) {
    struct rows rows = {0};
    size_t kept = 0;
    kith_status status = copy_rows(shelf, 0, &rows, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < rows.count; i++)
        if (strcmp(rows.row[i].collection, collection) != 0) rows.row[kept++] = rows.row[i];
    if (kept < rows.count) {
        rows.count = kept;
        status = commit(shelf, &rows, error);
    }
    free(rows.row);
    return status;
}

int ks_shelf_alias_at(ks_shelf *shelf, size_t place, char *alias, char *collection) {
    pthread_rwlock_rdlock(&shelf->lock);
    const int there = place < shelf->alias_count;
    if (there) {
        memcpy(alias, shelf->aliases[place].alias, KS_NAME_MAX + 1);
        memcpy(collection, shelf->aliases[place].collection, KS_NAME_MAX + 1);
    }
    pthread_rwlock_unlock(&shelf->lock);
    return there;
}
