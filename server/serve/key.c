/* SPDX-License-Identifier: Apache-2.0
 *
 * A new key, and its place in the file of keys: the file is written anew beside itself, private to its owner, checked
 * as the server will read it, and renamed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "serve/inner.h"

static kith_status out_of_memory(kith_error *error) {
    if (error) *error = (kith_error){KITH_E_NOMEM, "there is no memory for a key"};
    return KITH_E_NOMEM;
}

static kith_status failed(kith_error *error, const char *path, const char *what) {
    if (error) {
        error->status = errno == ENOSPC ? KITH_E_NOSPACE : KITH_E_IO;
        snprintf(error->text, sizeof(error->text), "%s cannot be %s: %s", path, what, strerror(errno));
        return error->status;
    }
    return KITH_E_IO;
}

static json_t *make_object(const ks_new_key *key, const char *sha256) {
    json_t *object = json_pack("{s:s, s:s, s:s}", "name", key->name, "sha256", sha256, "role", key->role);
    int wrong = !object;
    if (!wrong && key->segment) wrong = json_object_set_new(object, "segment", json_string(key->segment)) != 0;
    if (!wrong && key->collection)
        wrong = json_object_set_new(object, "collections", json_pack("[s]", key->collection)) != 0;
    if (!wrong) return object;
    json_decref(object);
    return NULL;
}

/* The file as it is; what is not there is an empty one. NULL: refused. */
static json_t *read_file(const char *path, kith_error *error) {
    ks_keys *keys = NULL;
    if (access(path, F_OK) != 0 && errno == ENOENT) {
        json_t *empty = json_pack("{s:[]}", "keys");
        if (!empty) out_of_memory(error);
        return empty;
    }
    /* Read once as the server does, for its errors, and once as a tree. */
    if (ks_keys_read(path, &keys, error) != KITH_OK) return NULL;
    ks_keys_destroy(keys);
    json_t *file = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
    if (!file) failed(error, path, "read");
    return file;
}

static kith_status write_file(const char *temporary, const char *text, mode_t mode, kith_error *error) {
    const int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return failed(error, temporary, "made");
    kith_status status = KITH_OK;
    const size_t length = strlen(text);
    size_t sent = 0;
    while (sent < length) {
        const ssize_t some = write(fd, text + sent, length - sent);
        if (some < 0 && errno == EINTR) continue;
        if (some <= 0) break;
        sent += (size_t)some;
    }
    if (sent < length || fchmod(fd, mode) != 0 || fsync(fd) != 0) status = failed(error, temporary, "written");
    close(fd);
    return status;
}

static kith_status replace_file(const char *path, const json_t *file, kith_error *error) {
    struct stat about;
    const mode_t mode = stat(path, &about) == 0 ? about.st_mode & 0770 : 0600;
    char *text = json_dumps(file, JSON_INDENT(2)), *temporary = NULL;
    ks_keys *keys = NULL;
    kith_status status = KITH_OK;
    if (!text || asprintf(&temporary, "%s.%ld.new", path, (long)getpid()) < 0) {
        free(text);
        return out_of_memory(error);
    }
    status = write_file(temporary, text, mode, error);
    if (status == KITH_OK) {
        kith_error refused = {0};
        status = ks_keys_read(temporary, &keys, &refused);
        if (status != KITH_OK && error) {
            /* Of the file that would be, which lies under another name yet. */
            const size_t skip = strncmp(refused.text, temporary, strlen(temporary)) == 0 ? strlen(temporary) : 0;
            error->status = status;
            snprintf(error->text, sizeof(error->text), "%.200s would be refused%.280s", path, refused.text + skip);
        }
    }
    if (status == KITH_OK && rename(temporary, path) != 0) status = failed(error, path, "replaced");
    if (status != KITH_OK) unlink(temporary);
    ks_keys_destroy(keys);
    free(temporary);
    free(text);
    return status;
}

kith_status ks_serve_key(const ks_new_key *key, char secret[KS_NEW_SECRET_BYTES], char **line, kith_error *error) {
    char sha256[65];
    _Static_assert((int)KS_NEW_SECRET_BYTES == (int)KS_SECRET_BYTES, "serve.h shows what keys.h says");
    kith_status status = ks_key_make(secret, sha256, error);
    if (status != KITH_OK) return status;
    json_t *object = make_object(key, sha256);
    char *text = object ? json_dumps(object, 0) : NULL;
    if (!object) {
        if (error)
            *error = (kith_error){KITH_E_DATA, "the name of a key, its segment and its collection must be UTF-8"};
        return KITH_E_DATA;
    }
    if (!text) {
        json_decref(object);
        return out_of_memory(error);
    }
    if (key->path) {
        json_t *file = read_file(key->path, error);
        status = file ? KITH_OK : error && error->status != KITH_OK ? error->status : KITH_E_IO;
        if (file && json_array_append(json_object_get(file, "keys"), object) != 0) status = out_of_memory(error);
        if (status == KITH_OK) status = replace_file(key->path, file, error);
        json_decref(file);
    }
    json_decref(object);
    if (status == KITH_OK) {
        *line = text;
    } else {
        free(text);
    }
    return status;
}
