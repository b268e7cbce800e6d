/* SPDX-License-Identifier: Apache-2.0
 *
 * Snapshots of a collection: folders beside each other in its folder of snapshots. A name cannot lead out of that: it
 * is letters, digits, "-", "_" and ".", and does not begin with a point. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "native/inner.h"

enum { NAME_MAX_BYTES = 64, FOUND_MAX = 10000 };

static int is_name(const char *name) {
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
    const size_t bytes = strlen(name);
    return bytes >= 1 && bytes <= NAME_MAX_BYTES && name[0] != '.' && strspn(name, good) == bytes;
}

/* The name that was asked for, or one of the time and the version. */
static int read_name(ks_call *call, const ks_shop *shop, char name[NAME_MAX_BYTES + 1]) {
    static const char *const known[] = {"name", NULL};
    const char *asked = NULL;
    if (call->body_bytes) {
        const json_t *body = ks_body(call, "an object with a \"name\", or empty");
        if (!body || ks_members_only(call, body, known) != 0 || ks_member_text(call, body, "name", &asked) < 0)
            return -1;
    }
    if (asked && !is_name(asked)) {
        ks_call_fail(call, 400,
                     "\"name\" must be 1..%d letters, digits, \"-\", \"_\" and \".\", and not begin with a \".\"",
                     NAME_MAX_BYTES);
        return -1;
    }
    if (asked) {
        memcpy(name, asked, strlen(asked) + 1);
        return 0;
    }
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    const time_t now = time(NULL);
    struct tm utc;
    char stamp[24];
    if (kith_collection_get_info(shop->collection, &info) != KITH_OK) info.version = 0;
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", gmtime_r(&now, &utc));
    snprintf(name, NAME_MAX_BYTES + 1, "%s-v%llu", stamp, (unsigned long long)info.version);
    return 0;
}

static void make(ks_call *call, ks_shop *shop) {
    char name[NAME_MAX_BYTES + 1];
    char *folder = NULL, *path = NULL;
    kith_error error = {0};
    if (read_name(call, shop, name) != 0) return;
    kith_status status = ks_shelf_snapshots(ks_app_of(call)->shelf, shop, &folder, &error);
    if (status == KITH_OK && asprintf(&path, "%s/%s", folder, name) < 0) path = NULL;
    if (status == KITH_OK && !path)
        ks_call_no_memory(call);
    else if (status == KITH_OK && (status = kith_collection_snapshot(shop->collection, path, &error)) == KITH_OK) {
        ks_json json = KS_JSON(&call->reply.body);
        call->reply.status = 201;
        ks_json_object(&json, NULL);
        ks_json_text(&json, "name", name);
        ks_json_text(&json, "path", path);
        ks_json_object_end(&json);
        ks_v1_written(call);
    }
    if (status != KITH_OK) ks_call_fail_status(call, status, &error);
    free(path);
    free(folder);
}

void ks_v1_snapshot(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE, make);
}

static void list_folder(ks_json *json, DIR *folder) {
    const struct dirent *entry;
    for (int i = 0; i < FOUND_MAX && (entry = readdir(folder)); i++) {
        struct stat about;
        if (!is_name(entry->d_name) || fstatat(dirfd(folder), entry->d_name, &about, AT_SYMLINK_NOFOLLOW) != 0 ||
            !S_ISDIR(about.st_mode))
            continue;
        ks_json_object(json, NULL);
        ks_json_text(json, "name", entry->d_name);
        ks_json_uint(json, "created_ms",
                     (uint64_t)about.st_mtim.tv_sec * 1000 + (uint64_t)about.st_mtim.tv_nsec / 1000000);
        ks_json_object_end(json);
    }
}

static void list(ks_call *call, ks_shop *shop) {
    char *path = NULL;
    kith_error error = {0};
    const kith_status status = ks_shelf_snapshots(ks_app_of(call)->shelf, shop, &path, &error);
    if (status != KITH_OK) {
        ks_call_fail_status(call, status, &error);
        return;
    }
    DIR *folder = opendir(path);
    if (folder) {
        ks_json json = KS_JSON(&call->reply.body);
        ks_json_object(&json, NULL);
        ks_json_array(&json, "snapshots");
        list_folder(&json, folder);
        ks_json_array_end(&json);
        ks_json_object_end(&json);
        closedir(folder);
        ks_v1_written(call);
    } else {
        ks_call_fail(call, 500, "the folder of snapshots of \"%s\" cannot be read: %s", shop->name, strerror(errno));
    }
    free(path);
}

void ks_v1_snapshots(ks_call *call) {
    ks_v1_work(call, KS_V1_WHOLE, list);
}
