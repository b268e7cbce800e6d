/* SPDX-License-Identifier: Apache-2.0
 *
 * API keys: what a file of them may say, and whose a secret is.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../server/keys/keys.h"
#include "../../server/serve/serve.h"

/* SHA-256 of "secret" and of "abc". */
#define SECRET       "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"
#define ABC          "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define KEY(members) "{\"keys\":[{" members "}]}"
#define FULL         "\"name\":\"a\",\"sha256\":\"" SECRET "\",\"role\":\"read\""

static char folder[64], path[96];

static void write_keys(const char *text, size_t bytes) {
    unlink(path);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, bytes), (ssize_t)bytes);
    close(fd);
}

static void knows_whose_a_secret_is(void **state) {
    (void)state;
    ks_keys *keys = NULL;
    kith_error error = {0};
    static const char text[] =
        "{\"keys\":[{\"name\":\"web\",\"sha256\":\"" SECRET "\",\"role\":\"read\",\"segment\":\"t7\",\"share\":2.5,"
        "\"collections\":[\"shop\",\"tea\"]},{\"name\":\"ops\",\"sha256\":\"" ABC "\",\"role\":\"admin\"}]}";
    write_keys(text, sizeof(text) - 1);
    assert_int_equal(ks_keys_read(path, &keys, &error), KITH_OK);
    assert_int_equal(ks_keys_count(keys), 2);
    const ks_key *web = ks_keys_find(keys, "secret"), *ops = ks_keys_find(keys, "abc");
    assert_non_null(web);
    assert_non_null(ops);
    assert_string_equal(web->name, "web");
    assert_string_equal(web->segment, "t7");
    assert_int_equal(web->role, KS_READ);
    assert_true(web->share == 2.5 && ops->share == 1);
    assert_int_equal(web->number, 0);
    assert_int_equal(ops->number, 1);
    assert_int_equal(ops->role, KS_ADMIN);
    assert_null(ops->segment);
    assert_true(ks_key_may_name(web, "shop") && ks_key_may_name(web, "tea") && ks_key_may_name(ops, "anything"));
    assert_false(ks_key_may_name(web, "sho") || ks_key_may_name(web, "shop2") || ks_key_may_name(web, ""));
    assert_null(ks_keys_find(keys, NULL));
    assert_null(ks_keys_find(keys, ""));
    assert_null(ks_keys_find(keys, "Secret"));
    assert_null(ks_keys_find(keys, SECRET)); /* a hash opens nothing */
    ks_keys_destroy(keys);
}

static void refuses_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "line 1, column 0"},
        {"{\"keys\":", "line 1"},
        {"[]", "must be an object"},
        {"{\"keys\":[],\"more\":1}", "and nothing more"},
        {"{\"keys\":[]}", "1 to 4096 keys"},
        {"{\"keys\":{}}", "1 to 4096 keys"},
        {"{\"keys\":[7]}", "key 1 is no object"},
        {KEY("\"sha256\":\"" SECRET "\",\"role\":\"read\""), "key 1: \"name\" is missing"},
        {KEY("\"name\":\"\",\"sha256\":\"" SECRET "\",\"role\":\"read\""), "key 1: \"name\" must have 1 to 255 bytes"},
        {KEY("\"name\":\"a\\u0000b\",\"sha256\":\"" SECRET "\",\"role\":\"read\""), "line 1"},
        {KEY("\"name\":\"a\",\"role\":\"read\""), "key 1: \"sha256\" is missing"},
        {KEY("\"name\":\"a\",\"sha256\":\"12\",\"role\":\"read\""), "key 1: \"sha256\" must be 64 hex digits"},
        {KEY("\"name\":\"a\",\"sha256\":\"z"
             "bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\",\"role\":\"read\""),
         "64 hex digits"},
        {KEY("\"name\":\"a\",\"sha256\":\"" SECRET "\""), "key 1: \"role\" is missing"},
        {KEY("\"name\":\"a\",\"sha256\":\"" SECRET "\",\"role\":\"root\""), "\"read\", \"write\" or \"admin\""},
        {KEY("\"name\":\"a\",\"sha256\":\"" SECRET "\",\"role\":1"), "key 1: \"role\" must be a text"},
        {KEY(FULL ",\"segments\":\"x\""), "has a member \"segments\""},
        {KEY(FULL ",\"segment\":7"), "key 1: \"segment\" must be a text"},
        {KEY(FULL ",\"share\":0"), "key 1: \"share\" must be a number from 0.01"},
        {KEY(FULL ",\"share\":\"1\""), "key 1: \"share\""},
        {KEY(FULL ",\"collections\":[]"), "key 1: \"collections\""},
        {KEY(FULL ",\"collections\":[\"a\",3]"), "key 1: \"collections\" must be a list of names"},
        {KEY(FULL ",\"role\":\"admin\""), "duplicate"},
        {"{\"keys\":[{" FULL "},{\"name\":\"b\",\"sha256\":\"" SECRET "\",\"role\":\"read\"}]}",
         "keys 1 and 2 have the same \"sha256\""},
        {"{\"keys\":[{" FULL "},{\"name\":\"a\",\"sha256\":\"" ABC "\",\"role\":\"read\"}]}",
         "keys 1 and 2 have the same \"name\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        ks_keys *keys = NULL;
        kith_error error = {0};
        write_keys(rows[i].text, strlen(rows[i].text));
        assert_int_equal(ks_keys_read(path, &keys, &error), KITH_E_DATA);
        assert_null(keys);
        assert_memory_equal(error.text, path, strlen(path));
        if (!strstr(error.text, rows[i].says))
            fail_msg("%s\nsays: %s\nnot:  %s", rows[i].text, error.text, rows[i].says);
    }
}

static void wants_it_private(void **state) {
    (void)state;
    static const struct {
        mode_t mode;
        int fine;
    } rows[] = {{0600, 1}, {0640, 1}, {0400, 1}, {0644, 0}, {0602, 0}, {0666, 0}};
    write_keys(KEY(FULL), strlen(KEY(FULL)));
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        ks_keys *keys = NULL;
        kith_error error = {0};
        assert_int_equal(chmod(path, rows[i].mode), 0);
        assert_int_equal(ks_keys_read(path, &keys, &error), rows[i].fine ? KITH_OK : KITH_E_DATA);
        if (!rows[i].fine) assert_non_null(strstr(error.text, "everybody"));
        ks_keys_destroy(keys);
    }
    ks_keys *keys = NULL;
    kith_error error = {0};
    assert_int_equal(ks_keys_read(folder, &keys, &error), KITH_E_DATA);
    assert_int_equal(ks_keys_read("/nowhere/keys.json", &keys, &error), KITH_E_NOTFOUND);
}

static void opens_to_anybody(void **state) {
    (void)state;
    ks_keys *keys = NULL;
    kith_error error = {0};
    assert_int_equal(ks_keys_open(&keys, &error), KITH_OK);
    assert_int_equal(ks_keys_count(keys), 1);
    const ks_key *key = ks_keys_find(keys, NULL);
    assert_non_null(key);
    assert_int_equal(key->role, KS_ADMIN);
    assert_null(key->segment);
    assert_ptr_equal(ks_keys_find(keys, "whatever"), key);
    ks_keys_destroy(keys);
    ks_keys_destroy(NULL);
}

static void makes_keys_that_open(void **state) {
    (void)state;
    enum { KEYS = 20 };
    char secrets[KEYS][KS_NEW_SECRET_BYTES], name[16];
    kith_error error = {0};
    unlink(path);
    for (int i = 0; i < KEYS; i++) {
        char *line = NULL;
        snprintf(name, sizeof(name), "key %d", i);
        const ks_new_key key = {name, i % 2 ? "read" : "admin", i % 2 ? "seg" : NULL, i % 3 ? NULL : "shop", path};
        if (ks_serve_key(&key, secrets[i], &line, &error) != KITH_OK) fail_msg("%s", error.text);
        assert_int_equal(strlen(secrets[i]), KS_NEW_SECRET_BYTES - 1);
        assert_null(strstr(line, secrets[i]));
        free(line);
        for (int j = 0; j < i; j++) assert_string_not_equal(secrets[i], secrets[j]);
    }
    ks_keys *keys = NULL;
    assert_int_equal(ks_keys_read(path, &keys, &error), KITH_OK);
    assert_int_equal(ks_keys_count(keys), KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        const ks_key *key = ks_keys_find(keys, secrets[i]);
        assert_non_null(key);
        assert_int_equal(key->number, i);
        assert_int_equal(key->role, i % 2 ? KS_READ : KS_ADMIN);
        assert_int_equal(ks_key_may_name(key, "tea"), i % 3 != 0);
    }
    ks_keys_destroy(keys);
    /* A name that is there changes nothing. */
    struct stat before, after;
    char *line = NULL, secret[KS_NEW_SECRET_BYTES];
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(before.st_mode & 0777, 0600);
    const ks_new_key twin = {"key 3", "read", NULL, NULL, path};
    assert_int_equal(ks_serve_key(&twin, secret, &line, &error), KITH_E_DATA);
    assert_null(line);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    const ks_new_key odd = {"\xff", "read", NULL, NULL, path};
    assert_int_equal(ks_serve_key(&odd, secret, &line, &error), KITH_E_DATA);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing was left beside it */
    assert_int_equal(mkdir(folder, 0700), 0);
}

static int open_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/kith-keys-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof(path), "%s/keys.json", folder);
    return 0;
}

static int close_folder(void **state) {
    (void)state;
    unlink(path);
    rmdir(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_whose_a_secret_is), cmocka_unit_test(refuses_what_is_wrong),
        cmocka_unit_test(wants_it_private),        cmocka_unit_test(opens_to_anybody),
        cmocka_unit_test(makes_keys_that_open),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
