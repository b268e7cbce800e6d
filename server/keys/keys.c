/* SPDX-License-Identifier: Apache-2.0
 *
 * API keys: the file of them, and whose a secret is.
 *
 * 1. A secret is compared as its SHA-256 with all hashes, each in full, so that neither which key it was nor how much
 *    of it was right shows in the time.
 * 2. All texts of the keys are those of the parsed file, which is kept. */
#define _GNU_SOURCE
#include "error/error.h"
#include "keys/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HASH_BYTES = 32, SECRET_MAX = 4096, FILE_MAX = 4 << 20, COLLECTIONS_MAX = 4096 };

struct ks_keys {
    json_t *file;
    size_t count;
    int open; /* the one key may be used without a secret */
    ks_key *keys;
    unsigned char (*hashes)[HASH_BYTES];
};

static int hash(const void *bytes, size_t count, unsigned char to[HASH_BYTES]) {
    return gnutls_hash_fast(GNUTLS_DIG_SHA256, bytes, count, to) == 0 ? 0 : -1;
}

/* ---- The file */

static kith_status read_text(const char *path, char **text, size_t *bytes, kith_error *error) {
    struct stat about;
    kith_status status = KITH_OK;
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ks_error(error, errno == ENOENT ? KITH_E_NOTFOUND : KITH_E_IO, "%s: the file of keys cannot be read: %s",
                        path, strerror(errno));
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
        status = ks_error(error, KITH_E_DATA, "%s is no file of keys", path);
    } else if (about.st_mode & S_IROTH) {
        status =
            ks_error(error, KITH_E_DATA, "%s may be read by everybody on this machine: say chmod o-rwx %s", path, path);
    } else if (about.st_mode & S_IWOTH) {
        status = ks_error(error, KITH_E_DATA, "%s may be written by everybody on this machine: say chmod o-rwx %s",
                          path, path);
    } else if (about.st_size > FILE_MAX) {
        status = ks_error(error, KITH_E_DATA, "%s has more than %d bytes", path, FILE_MAX);
    }
    const size_t room = status == KITH_OK ? (size_t)about.st_size : 0;
    char *read_bytes = status == KITH_OK ? malloc(room + 1) : NULL;
    if (status == KITH_OK && !read_bytes) status = ks_error(error, KITH_E_NOMEM, "there is no memory for %s", path);
    size_t used = 0;
    while (status == KITH_OK && used < room) {
        const ssize_t some = read(fd, read_bytes + used, room - used);
        if (some < 0 && errno == EINTR) continue;
        if (some < 0) status = ks_error(error, KITH_E_IO, "%s cannot be read: %s", path, strerror(errno));
        if (some <= 0) break;
        used += (size_t)some;
    }
    close(fd);
    if (status == KITH_OK) {
        *text = read_bytes;
        *bytes = used;
    } else {
        free(read_bytes);
    }
    return status;
}

/* What a key says, while it is read: for errors. */
typedef struct entry {
    const char *path;
    size_t number; /* from 1 */
    const json_t *object;
    kith_error *error;
} entry;

static kith_status bad(const entry *at, const char *member, const char *what) {
    return ks_error(at->error, KITH_E_DATA, "%s: key %zu: \"%s\" %s", at->path, at->number, member, what);
}

static int is_plain(const char *text, size_t length) {
    if (!length || length > 255 || strlen(text) != length) return 0;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) return 0;
    return 1;
}

static kith_status read_member_text(const entry *at, const char *member, int needed, const char **to) {
    const json_t *value = json_object_get(at->object, member);
    if (!value && !needed) return KITH_OK;
    if (!json_is_string(value)) return bad(at, member, value ? "must be a text" : "is missing");
    if (!is_plain(json_string_value(value), json_string_length(value)))
        return bad(at, member, "must have 1 to 255 bytes without control characters");
    *to = json_string_value(value);
    return KITH_OK;
}

static kith_status read_hash(const entry *at, unsigned char to[HASH_BYTES]) {
    const char *text = NULL;
    const kith_status status = read_member_text(at, "sha256", 1, &text);
    if (status != KITH_OK) return status;
    if (strlen(text) != 2 * HASH_BYTES || strspn(text, "0123456789abcdefABCDEF") != 2 * HASH_BYTES)
        return bad(at, "sha256", "must be 64 hex digits, as kith key prints them");
    for (size_t i = 0; i < HASH_BYTES; i++) {
        const char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        to[i] = (unsigned char)strtoul(digits, NULL, 16);
    }
    return KITH_OK;
}

static kith_status read_role(const entry *at, ks_role *role) {
    static const char *const names[] = {[KS_READ] = "read", [KS_WRITE] = "write", [KS_ADMIN] = "admin"};
    const char *text = NULL;
    const kith_status status = read_member_text(at, "role", 1, &text);
    if (status != KITH_OK) return status;
    for (ks_role i = KS_READ; i <= KS_ADMIN; i++)
        if (strcmp(text, names[i]) == 0) {
            *role = i;
            return KITH_OK;
        }
    return bad(at, "role", "must be \"read\", \"write\" or \"admin\"");
}

static kith_status read_collections(const entry *at, ks_key *key) {
    const json_t *list = json_object_get(at->object, "collections");
    if (!list) return KITH_OK;
    const size_t count = json_array_size(list);
    if (!json_is_array(list) || !count || count > COLLECTIONS_MAX)
        return bad(at, "collections", "must be a list of 1 to 4096 names");
    const char **names = calloc(count, sizeof(*names));
    if (!names) return ks_error(at->error, KITH_E_NOMEM, "there is no memory for the keys of %s", at->path);
    key->collections = names;
    for (size_t i = 0; i < count; i++) {
        const json_t *name = json_array_get(list, i);
        if (!json_is_string(name) || !is_plain(json_string_value(name), json_string_length(name)))
            return bad(at, "collections", "must be a list of names");
        names[i] = json_string_value(name);
        key->collection_count = i + 1;
    }
    return KITH_OK;
}

static kith_status read_share(const entry *at, double *share) {
    const json_t *value = json_object_get(at->object, "share");
    *share = 1;
    if (!value) return KITH_OK;
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= 0.01 && number <= 1000))
        return bad(at, "share", "must be a number from 0.01 to 1000");
    *share = number;
    return KITH_OK;
}

static kith_status read_known(const entry *at) {
    static const char *const known[] = {"name", "sha256", "role", "segment", "collections", "share"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)at->object, name, value) {
        size_t i = 0;
        while (i < sizeof(known) / sizeof(*known) && strcmp(name, known[i]) != 0) i++;
        if (i == sizeof(known) / sizeof(*known))
            return ks_error(at->error, KITH_E_DATA, "%s: key %zu has a member \"%.64s\", which no key has", at->path,
                            at->number, name);
    }
    return KITH_OK;
}

static kith_status read_key(const entry *at, ks_key *key, unsigned char to[HASH_BYTES]) {
    if (!json_is_object(at->object))
        return ks_error(at->error, KITH_E_DATA, "%s: key %zu is no object", at->path, at->number);
    kith_status status = read_known(at);
    if (status == KITH_OK) status = read_member_text(at, "name", 1, &key->name);
    if (status == KITH_OK) status = read_hash(at, to);
    if (status == KITH_OK) status = read_role(at, &key->role);
    if (status == KITH_OK) status = read_member_text(at, "segment", 0, &key->segment);
    if (status == KITH_OK) status = read_collections(at, key);
    if (status == KITH_OK) status = read_share(at, &key->share);
    return status;
}

static kith_status no_twins(const ks_keys *keys, const char *path, kith_error *error) {
    for (size_t i = 0; i < keys->count; i++)
        for (size_t j = 0; j < i; j++) {
            if (memcmp(keys->hashes[i], keys->hashes[j], HASH_BYTES) == 0)
                return ks_error(error, KITH_E_DATA, "%s: keys %zu and %zu have the same \"sha256\"", path, j + 1,
                                i + 1);
            if (strcmp(keys->keys[i].name, keys->keys[j].name) == 0)
                return ks_error(error, KITH_E_DATA, "%s: keys %zu and %zu have the same \"name\"", path, j + 1, i + 1);
        }
    return KITH_OK;
}

static kith_status read_list(const json_t *list, const char *path, ks_keys *keys, kith_error *error) {
    const size_t count = json_array_size(list);
    if (!json_is_array(list) || !count || count > KS_KEYS_MAX)
        return ks_error(error, KITH_E_DATA, "%s: \"keys\" must be a list of 1 to %d keys", path, KS_KEYS_MAX);
    keys->keys = calloc(count, sizeof(*keys->keys));
    keys->hashes = calloc(count, sizeof(*keys->hashes));
    if (!keys->keys || !keys->hashes)
        return ks_error(error, KITH_E_NOMEM, "there is no memory for the keys of %s", path);
    for (size_t i = 0; i < count; i++) {
        const entry at = {path, i + 1, json_array_get(list, i), error};
        keys->count = i + 1;
        keys->keys[i].number = (unsigned)i;
        const kith_status status = read_key(&at, &keys->keys[i], keys->hashes[i]);
        if (status != KITH_OK) return status;
    }
    return no_twins(keys, path, error);
}

kith_status ks_keys_read(const char *path, ks_keys **keys, kith_error *error) {
    char *text = NULL;
    size_t bytes = 0;
    json_error_t where;
    kith_status status = read_text(path, &text, &bytes, error);
    if (status != KITH_OK) return status;
    ks_keys *made = calloc(1, sizeof(*made));
    if (!made) {
        free(text);
        return ks_error(error, KITH_E_NOMEM, "there is no memory for the keys of %s", path);
    }
    made->file = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    free(text);
    if (!made->file) {
        status = ks_error(error, KITH_E_DATA, "%s: line %d, column %d: %s", path, where.line, where.column, where.text);
    } else if (!json_is_object(made->file) || json_object_size(made->file) != 1) {
        status = ks_error(error, KITH_E_DATA, "%s must be an object {\"keys\": [...]} and nothing more", path);
    } else {
        status = read_list(json_object_get(made->file, "keys"), path, made, error);
    }
    if (status == KITH_OK) {
        *keys = made;
    } else {
        ks_keys_destroy(made);
    }
    return status;
}

kith_status ks_keys_open(ks_keys **keys, kith_error *error) {
    ks_keys *made = calloc(1, sizeof(*made));
    if (made) made->keys = calloc(1, sizeof(*made->keys));
    if (!made || !made->keys) {
        free(made);
        return ks_error(error, KITH_E_NOMEM, "there is no memory for a key");
    }
    made->count = 1;
    made->open = 1;
    made->keys[0] = (ks_key){.name = "anybody", .role = KS_ADMIN, .share = 1};
    *keys = made;
    return KITH_OK;
}

void ks_keys_destroy(ks_keys *keys) {
    if (!keys) return;
    for (size_t i = 0; i < keys->count && keys->keys; i++) free((void *)(uintptr_t)keys->keys[i].collections);
    free(keys->keys);
    free(keys->hashes);
    json_decref(keys->file);
    free(keys);
}

size_t ks_keys_count(const ks_keys *keys) {
    return keys->count;
}

/* ---- Who asks */

const ks_key *ks_keys_find(const ks_keys *keys, const char *secret) {
    unsigned char sent[HASH_BYTES];
    const ks_key *found = NULL;
    if (keys->open) return &keys->keys[0];
    const size_t length = secret ? strlen(secret) : 0;
    if (!length || length > SECRET_MAX || hash(secret, length, sent) != 0) return NULL;
    for (size_t i = 0; i < keys->count; i++)
        if (gnutls_memcmp(sent, keys->hashes[i], HASH_BYTES) == 0) found = &keys->keys[i];
    return found;
}

const char *ks_keys_secret(const ks_call *call) {
    const char *header = ks_call_header(call, "Authorization");
    if (header && strncasecmp(header, "Bearer ", 7) == 0) return header + 7 + strspn(header + 7, " ");
    header = ks_call_header(call, "api-key");
    return header ? header : ks_call_header(call, "X-API-Key");
}

int ks_key_may_name(const ks_key *key, const char *collection) {
    if (!key->collections) return 1;
    for (size_t i = 0; i < key->collection_count; i++)
        if (strcmp(key->collections[i], collection) == 0) return 1;
    return 0;
}

/* ---- A new one */

kith_status ks_key_make(char secret[KS_SECRET_BYTES], char sha256[65], kith_error *error) {
    /* "kith_" and 46 of 62 letters: 273 bits. Letters beyond the largest multiple of 62 would favour the first ones. */
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char hashed[HASH_BYTES];
    size_t used = (size_t)snprintf(secret, KS_SECRET_BYTES, "kith_");
    while (used < KS_SECRET_BYTES - 1) {
        unsigned char random[64];
        if (gnutls_rnd(GNUTLS_RND_KEY, random, sizeof(random)) != 0)
            return ks_error(error, KITH_E_IO, "the system gives no random numbers");
        for (size_t i = 0; i < sizeof(random) && used < KS_SECRET_BYTES - 1; i++)
            if (random[i] < 248) secret[used++] = letters[random[i] % 62];
    }
    secret[used] = 0;
    if (hash(secret, used, hashed) != 0) return ks_error(error, KITH_E_IO, "GnuTLS gives no SHA-256");
    for (size_t i = 0; i < HASH_BYTES; i++) snprintf(sha256 + 2 * i, 3, "%02x", hashed[i]);
    return KITH_OK;
}
