/* SPDX-License-Identifier: Apache-2.0
 *
 * The shelf of collections: names and their folders, what a crash leaves, aliases and kept texts, dropping what
 * somebody still has, and opening it all again.
 * tiers: any */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../../server/shelf/inner.h"
#include "support/shop.h"

#include <limits.h>
#include <sys/stat.h>

static unsigned troubles;
static char trouble_text[600];

static void told(void *context, const char *name, const kith_error *why) {
    (void)context;
    troubles++;
    snprintf(trouble_text, sizeof(trouble_text), "%s: %s", name, why->text);
}

static const char *fresh_folder(void) {
    const char *path = fresh();
    assert_int_equal(mkdir(path, 0777), 0);
    return path;
}

static ks_shelf *open_shelf(const char *path, int read_only) {
    const ks_shelf_options options = {.read_only = read_only};
    ks_shelf *shelf = NULL;
    troubles = 0;
    must(ks_shelf_open(path, &options, told, NULL, &shelf, &error));
    return shelf;
}

static void create(ks_shelf *shelf, const char *name) {
    const kith_collection_options options = options_of(KITH_ID_U64);
    must(ks_shelf_create(shelf, name, &options, &error));
}

static ks_shop *borrow(ks_shelf *shelf, const char *name) {
    ks_shop *shop = NULL;
    must(ks_shelf_borrow(shelf, name, &shop, &error));
    return shop;
}

static int has(ks_shelf *shelf, const char *name) {
    ks_shop *shop = NULL;
    const kith_status status = ks_shelf_borrow(shelf, name, &shop, &error);
    assert_true(status == KITH_OK || status == KITH_E_NOTFOUND);
    ks_shelf_return(shelf, shop);
    return status == KITH_OK;
}

static const char *in(const char *folder, const char *name) {
    static char path[4][PATH_MAX + 64];
    static unsigned turn;
    char *to = path[turn++ % 4];
    snprintf(to, sizeof(path[0]), "%s/%s", folder, name);
    return to;
}

static int is_there(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

static void test_names_that_are_none_are_refused(void **state) {
    (void)state;
    char long_one[KS_NAME_MAX + 2];
    memset(long_one, 'a', sizeof(long_one));
    long_one[KS_NAME_MAX + 1] = 0;
    const char *const bad[] = {"",
                               ".",
                               "..",
                               "a/b",
                               "/etc",
                               "..\\x",
                               "a\nb",
                               "a\x7f",
                               "\xc3",
                               "\xc0\xaf",
                               "\xed\xa0\x80",
                               "\xc2\x85",
                               "a\\b",
                               long_one,
                               "../../up",
                               "\xff\xfe",
                               "\xf5\x80\x80\x80"};
    const kith_collection_options options = options_of(KITH_ID_U64);
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        assert_false(ks_name_valid(bad[i]));
        refused(ks_shelf_create(shelf, bad[i], &options, &error), KITH_E_ARG, "A collection's name is");
        ks_shop *shop;
        assert_int_equal(ks_shelf_borrow(shelf, bad[i], &shop, &error), KITH_E_NOTFOUND);
        assert_int_equal(ks_shelf_drop(shelf, bad[i], &error), KITH_E_NOTFOUND);
        refused(ks_shelf_alias(shelf, &(ks_alias){bad[i], "x"}, 1, &error), KITH_E_ARG, "An alias is");
    }
    ks_shelf_close(shelf);
}

static void test_odd_names_have_folders_of_their_own(void **state) {
    (void)state;
    static const struct {
        const char *name, *folder;
    } odd[] = {{"shop", "shop"},
               {"a-b_9", "a-b_9"},
               {"Shop", "=53686f70"},
               {"-x", "=2d78"},
               {"caf\xc3\xa9", "=636166c3a9"},
               {"=6161", "=3d36313631"},
               {".shelf", "=2e7368656c66"},
               {"a b", "=612062"},
               {"con.txt", "=636f6e2e747874"},
               {"...", "=2e2e2e"},
               {"9", "9"}};
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
        char folder[KS_FOLDER_MAX + 1], name[KS_NAME_MAX + 1];
        ks_name_folder(odd[i].name, folder);
        assert_string_equal(folder, odd[i].folder);
        assert_int_equal(ks_name_of_folder(folder, name), 1);
        assert_string_equal(name, odd[i].name);
        if (i < 7) create(shelf, odd[i].name);
    }
    ks_shelf_close(shelf);
    shelf = open_shelf(path, 0);
    assert_int_equal(troubles, 0);
    const char *before = "";
    for (size_t i = 0; i < 7; i++) {
        ks_shop *shop = ks_shelf_at(shelf, i), *same = borrow(shelf, odd[i].name);
        assert_true(strcmp(before, shop->name) < 0); /* in the order of names */
        assert_string_equal(same->name, odd[i].name);
        assert_int_equal(same->vector_count, 2);
        assert_string_equal(same->segment_field, "color");
        before = shop->name;
        ks_shelf_return(shelf, shop);
        ks_shelf_return(shelf, same);
    }
    assert_null(ks_shelf_at(shelf, 7));
    ks_shelf_close(shelf);
}

static void test_folders_that_are_called_as_no_collection_is(void **state) {
    (void)state;
    static const char *const folders[] = {"=6", "=zz", "=C3", "=00", "=2f", "=2e2e", "=", "=2e"};
    char name[KS_NAME_MAX + 1];
    for (size_t i = 0; i < sizeof(folders) / sizeof(*folders); i++)
        assert_int_equal(ks_name_of_folder(folders[i], name), 0);
    const char *path = fresh_folder();
    kith_collection_close(make_at(in(path, "=zz"), KITH_ID_U64));
    kith_collection_close(make_at(in(path, "Mine"), KITH_ID_U64));
    kith_collection_close(make_at(in(path, "=4d696e65"), KITH_ID_U64)); /* "Mine" once more */
    assert_int_equal(mkdir(in(path, "nothing"), 0777), 0);
    ks_shelf *shelf = open_shelf(path, 0);
    assert_int_equal(troubles, 2);
    assert_true(has(shelf, "Mine"));
    ks_shelf_close(shelf);
}

static void test_links_are_not_followed(void **state) {
    (void)state;
    const char *path = fresh_folder(), *other = fresh();
    kith_collection_close(make_at(other, KITH_ID_U64));
    char target[PATH_MAX];
    assert_non_null(realpath(other, target));
    assert_int_equal(symlink(target, in(path, "linked")), 0);
    ks_shelf *shelf = open_shelf(path, 0);
    assert_false(has(shelf, "linked"));
    const kith_collection_options options = options_of(KITH_ID_U64);
    refused(ks_shelf_create(shelf, "linked", &options, &error), KITH_E_BUSY, "linked");
    /* Nor where texts are kept. */
    create(shelf, "shop");
    assert_int_equal(rmdir(in(path, ".shelf/kept")), 0);
    assert_int_equal(symlink(target, in(path, ".shelf/kept")), 0);
    ks_shop *shop = borrow(shelf, "shop");
    assert_int_not_equal(ks_shelf_keep(shelf, shop, "x", "{}", 2, &error), KITH_OK);
    assert_false(is_there(in(target, "shop.x")));
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
    assert_true(is_there(in(target, "catalog.sqlite")));
}

/* ---- Making and dropping ----------------------------------------------------------------------------------------- */

static void test_what_is_made_is_there_again(void **state) {
    (void)state;
    const kith_collection_options options = options_of(KITH_ID_U64);
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    assert_false(ks_shelf_is_one(shelf));
    create(shelf, "shop");
    refused(ks_shelf_create(shelf, "shop", &options, &error), KITH_E_BUSY, "a collection \"shop\"");
    ks_shop *shop = borrow(shelf, "shop");
    must(put(shop->collection, 7, 1, NULL, KITH_UPSERT, NULL));
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
    assert_false(is_there(in(path, ".shelf/making/shop")));
    shelf = open_shelf(path, 0);
    shop = borrow(shelf, "shop");
    assert_true(there(shop->collection, 7));
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
}

static void test_a_dropped_one_lives_while_it_is_borrowed(void **state) {
    (void)state;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "shop");
    ks_shop *shop = borrow(shelf, "shop");
    must(put(shop->collection, 7, 1, NULL, KITH_UPSERT, NULL));
    must(ks_shelf_keep(shelf, shop, "words", "old", 3, &error));
    must(ks_shelf_alias(shelf, &(ks_alias){"also", "shop"}, 1, &error));
    must(ks_shelf_drop(shelf, "shop", &error));
    assert_false(has(shelf, "shop"));
    assert_false(has(shelf, "also"));
    assert_false(is_there(in(path, "shop")));
    assert_int_equal(ks_shelf_drop(shelf, "shop", &error), KITH_E_NOTFOUND);
    assert_true(there(shop->collection, 7));
    refused(ks_shelf_keep(shelf, shop, "words", "late", 4, &error), KITH_E_NOTFOUND, "was dropped");
    const unsigned number = shop->number;
    ks_shelf_return(shelf, shop);
    create(shelf, "shop"); /* waits for the other one to be gone */
    assert_false(is_there(in(path, ".shelf/dropped/0-0")));
    shop = borrow(shelf, "shop");
    assert_int_not_equal(shop->number, number);
    assert_int_equal(count_of(shop->collection), 0);
    char *text = "x";
    size_t bytes;
    must(ks_shelf_kept(shelf, shop, "words", &text, &bytes, &error));
    assert_null(text);
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
}

static void *create_again(void *context) {
    ks_shelf *shelf = context;
    const kith_collection_options options = options_of(KITH_ID_U64);
    kith_error why = {0};
    const kith_status status = ks_shelf_create(shelf, "shop", &options, &why);
    return status == KITH_OK ? context : NULL;
}

/* One that is still open may write by its path: another one of that name is made when it is closed. */
static void test_one_of_the_same_name_waits(void **state) {
    (void)state;
    pthread_t thread;
    void *good = NULL;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "shop");
    ks_shop *shop = borrow(shelf, "shop");
    must(ks_shelf_drop(shelf, "shop", &error));
    assert_int_equal(pthread_create(&thread, NULL, create_again, shelf), 0);
    for (int tries = 0; tries < 60 && !is_there(in(path, "shop")); tries++) usleep(5000); /* time to do it too early */
    assert_false(is_there(in(path, "shop")));
    must(put(shop->collection, 7, 1, NULL, KITH_UPSERT, NULL));
    ks_shelf_return(shelf, shop);
    assert_int_equal(pthread_join(thread, &good), 0);
    assert_non_null(good);
    shop = borrow(shelf, "shop");
    assert_int_equal(count_of(shop->collection), 0);
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
}

static void test_what_a_crash_left_goes(void **state) {
    (void)state;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "shop");
    ks_shop *shop = borrow(shelf, "shop");
    must(ks_shelf_keep(shelf, shop, "words", "{}", 2, &error));
    must(ks_shelf_alias(shelf, &(ks_alias){"also", "shop"}, 1, &error));
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
    /* Half made; half removed; texts half written, and of one that is gone. */
    kith_collection_close(make_at(in(path, ".shelf/making/half"), KITH_ID_U64));
    kith_collection_close(make_at(in(path, ".shelf/dropped/0-0"), KITH_ID_U64));
    write_text(in(path, ".shelf/kept/.new"), "{");
    write_text(in(path, ".shelf/kept/gone.words"), "{}");
    write_text(in(path, ".shelf/.new"), "{\"ali");
    write_text(in(path, ".shelf/aliases.json"), "{\"aliases\": {\"also\": \"shop\", \"lost\": \"gone\"}}");
    shelf = open_shelf(path, 0);
    assert_int_equal(troubles, 0);
    assert_true(has(shelf, "shop"));
    assert_true(has(shelf, "also"));
    assert_false(has(shelf, "half"));
    char alias[KS_NAME_MAX + 1], collection[KS_NAME_MAX + 1];
    assert_int_equal(ks_shelf_alias_at(shelf, 0, alias, collection), 1);
    assert_string_equal(alias, "also");
    assert_int_equal(ks_shelf_alias_at(shelf, 1, alias, collection), 0);
    static const char *const gone[] = {".shelf/making/half", ".shelf/dropped/0-0", ".shelf/kept/.new",
                                       ".shelf/kept/gone.words"};
    for (size_t i = 0; i < sizeof(gone) / sizeof(*gone); i++) assert_false(is_there(in(path, gone[i])));
    assert_true(is_there(in(path, ".shelf/kept/shop.words")));
    ks_shelf_close(shelf);
}

static void test_one_that_cannot_be_opened_is_left_out_and_kept(void **state) {
    (void)state;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "good");
    create(shelf, "bad");
    ks_shop *shop = borrow(shelf, "bad");
    must(ks_shelf_keep(shelf, shop, "words", "{}", 2, &error));
    must(ks_shelf_alias(shelf, &(ks_alias){"also", "bad"}, 1, &error));
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
    write_text(in(path, "bad/catalog.sqlite"), "this is no catalog, and long enough to be looked at as one..........."
                                               "....................................................");
    shelf = open_shelf(path, 0);
    assert_int_equal(troubles, 1);
    assert_non_null(strstr(trouble_text, "bad"));
    assert_true(has(shelf, "good"));
    assert_false(has(shelf, "bad"));
    assert_true(is_there(in(path, ".shelf/kept/bad.words")));
    char alias[KS_NAME_MAX + 1], collection[KS_NAME_MAX + 1];
    assert_int_equal(ks_shelf_alias_at(shelf, 0, alias, collection), 1);
    const kith_collection_options options = options_of(KITH_ID_U64);
    refused(ks_shelf_create(shelf, "bad", &options, &error), KITH_E_BUSY, "bad");
    assert_true(is_there(in(path, "bad/catalog.sqlite")));
    ks_shelf_close(shelf);
}

/* ---- One collection ---------------------------------------------------------------------------------------------- */

static void test_a_collection_alone(void **state) {
    (void)state;
    const kith_collection_options options = options_of(KITH_ID_U64);
    const char *path = fresh();
    kith_collection_close(make_at(path, KITH_ID_U64));
    ks_shelf *shelf = open_shelf(path, 0);
    assert_true(ks_shelf_is_one(shelf));
    ks_shop *shop = ks_shelf_at(shelf, 0);
    assert_string_equal(shop->name, strrchr(path, '/') + 1);
    refused(ks_shelf_create(shelf, "more", &options, &error), KITH_E_BUSY, "one collection's folder");
    refused(ks_shelf_drop(shelf, shop->name, &error), KITH_E_BUSY, "one collection's folder");
    must(ks_shelf_keep(shelf, shop, "words", "{}", 2, &error));
    must(ks_shelf_alias(shelf, &(ks_alias){"also", shop->name}, 1, &error));
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
    must(kith_collection_verify(path, NULL, NULL, NULL, &error)); /* what is ours is not in its way */
    char moved[PATH_MAX];
    snprintf(moved, sizeof(moved), "%s-moved", path);
    assert_int_equal(rename(path, moved), 0);
    shelf = open_shelf(moved, 0);
    shop = borrow(shelf, "also");
    assert_string_equal(shop->name, strrchr(moved, '/') + 1);
    char *text = NULL;
    size_t bytes = 0;
    must(ks_shelf_kept(shelf, shop, "words", &text, &bytes, &error));
    assert_int_equal(bytes, 2);
    free(text);
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
}

static void test_a_shelf_that_is_not_there(void **state) {
    (void)state;
    ks_shelf *shelf = NULL;
    const char *path = fresh();
    assert_int_equal(ks_shelf_open(path, NULL, told, NULL, &shelf, &error), KITH_E_NOTFOUND);
    write_text(path, "a file");
    assert_int_equal(ks_shelf_open(path, NULL, told, NULL, &shelf, &error), KITH_E_NOTFOUND);
    assert_null(shelf);
    kith_collection *mine = make_at(fresh_folder(), KITH_ID_U64);
    kith_collection_close(mine);
}

static void test_who_only_reads_changes_nothing(void **state) {
    (void)state;
    const kith_collection_options options = options_of(KITH_ID_U64);
    const char *path = fresh_folder();
    kith_collection_close(make_at(in(path, "shop"), KITH_ID_U64));
    ks_shelf *shelf = open_shelf(path, 1);
    assert_false(is_there(in(path, ".shelf")));
    refused(ks_shelf_create(shelf, "more", &options, &error), KITH_E_BUSY, "only reads");
    refused(ks_shelf_drop(shelf, "shop", &error), KITH_E_BUSY, "only reads");
    refused(ks_shelf_alias(shelf, &(ks_alias){"also", "shop"}, 1, &error), KITH_E_BUSY, "only reads");
    ks_shop *shop = borrow(shelf, "shop");
    refused(ks_shelf_keep(shelf, shop, "words", "{}", 2, &error), KITH_E_BUSY, "only reads");
    char *text = "x";
    size_t bytes;
    must(ks_shelf_kept(shelf, shop, "words", &text, &bytes, &error));
    assert_null(text);
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
}

/* ---- Aliases and texts ------------------------------------------------------------------------------------------- */

static void test_aliases_change_all_or_none(void **state) {
    (void)state;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "one");
    create(shelf, "two");
    const ks_alias begin[] = {{"live", "one"}, {"next", "two"}};
    must(ks_shelf_alias(shelf, begin, 2, &error));
    /* Each of these fails at its last change, and what came before it is not seen. */
    const struct {
        ks_alias change[2];
        kith_status status;
    } failing[] = {{{{"live", "two"}, {"x", "three"}}, KITH_E_NOTFOUND},
                   {{{"live", "two"}, {"one", "two"}}, KITH_E_BUSY},
                   {{{"live", NULL}, {"live", NULL}}, KITH_E_NOTFOUND},
                   {{{"next", NULL}, {"a/b", "one"}}, KITH_E_ARG},
                   {{{"more", "one"}, {"y", "live"}}, KITH_E_NOTFOUND}};
    for (size_t i = 0; i < sizeof(failing) / sizeof(*failing); i++) {
        assert_int_equal(ks_shelf_alias(shelf, failing[i].change, 2, &error), failing[i].status);
        ks_shop *live = borrow(shelf, "live"), *next = borrow(shelf, "next");
        assert_string_equal(live->name, "one");
        assert_string_equal(next->name, "two");
        assert_false(has(shelf, "more"));
        ks_shelf_return(shelf, live);
        ks_shelf_return(shelf, next);
    }
    const ks_alias swap[] = {{"live", "two"}, {"next", NULL}, {"was", "one"}};
    must(ks_shelf_alias(shelf, swap, 3, &error));
    const kith_collection_options options = options_of(KITH_ID_U64);
    refused(ks_shelf_create(shelf, "live", &options, &error), KITH_E_BUSY, "an alias");
    for (int again = 0; again < 2; again++) {
        ks_shop *live = borrow(shelf, "live"), *was = borrow(shelf, "was");
        assert_string_equal(live->name, "two");
        assert_string_equal(was->name, "one");
        assert_false(has(shelf, "next"));
        ks_shelf_return(shelf, live);
        ks_shelf_return(shelf, was);
        ks_shelf_close(shelf);
        shelf = open_shelf(path, 0);
    }
    ks_shelf_close(shelf);
}

static void test_a_file_of_aliases_that_is_none(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "[]",
                                      "{\"aliases\": 1}",
                                      "{\"aliases\": {\"a\": 1}}",
                                      "{\"aliases\": {\"..\": \"shop\"}}",
                                      "{\"aliases\": {}, \"aliases\": {}}"};
    const char *path = fresh_folder();
    ks_shelf_close(open_shelf(path, 0));
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        ks_shelf *shelf = NULL;
        write_text(in(path, ".shelf/aliases.json"), bad[i]);
        refused(ks_shelf_open(path, NULL, told, NULL, &shelf, &error), KITH_E_CORRUPT, "aliases.json");
    }
}

static void test_texts_are_kept(void **state) {
    (void)state;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "shop");
    ks_shop *shop = borrow(shelf, "shop");
    char *large = calloc(1, KS_KEPT_MAX + 1), *text = NULL;
    size_t bytes = 0;
    must(ks_shelf_keep(shelf, shop, "words", "one", 3, &error));
    must(ks_shelf_keep(shelf, shop, "words", "second", 6, &error));
    must(ks_shelf_keep(shelf, shop, "large", large, KS_KEPT_MAX, &error));
    refused(ks_shelf_keep(shelf, shop, "large", large, KS_KEPT_MAX + 1, &error), KITH_E_LIMIT, "too long");
    free(large);
    static const char *const bad[] = {"",  "../up", "a.b",
                                      "A", "a/b",   "words and more words than a file's name may have"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        refused(ks_shelf_keep(shelf, shop, bad[i], "{}", 2, &error), KITH_E_ARG, "no word");
        refused(ks_shelf_kept(shelf, shop, bad[i], &text, &bytes, &error), KITH_E_ARG, "no word");
    }
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
    shelf = open_shelf(path, 0);
    shop = borrow(shelf, "shop");
    must(ks_shelf_kept(shelf, shop, "words", &text, &bytes, &error));
    assert_string_equal(text, "second");
    free(text);
    must(ks_shelf_kept(shelf, shop, "large", &text, &bytes, &error));
    assert_int_equal(bytes, KS_KEPT_MAX);
    free(text);
    must(ks_shelf_keep(shelf, shop, "words", NULL, 0, &error)); /* NULL: not any more */
    must(ks_shelf_kept(shelf, shop, "words", &text, &bytes, &error));
    assert_null(text);
    ks_shelf_return(shelf, shop);
    ks_shelf_close(shelf);
}

static void test_snapshots_have_a_place(void **state) {
    (void)state;
    const char *path = fresh_folder();
    ks_shelf *shelf = open_shelf(path, 0);
    create(shelf, "shop");
    ks_shop *shop = borrow(shelf, "shop");
    char *folder = NULL;
    must(ks_shelf_snapshots(shelf, shop, &folder, &error));
    assert_int_equal(folder[0], '/');
    must(kith_collection_snapshot(shop->collection, in(folder, "s1"), &error));
    ks_shelf_return(shelf, shop);
    must(ks_shelf_drop(shelf, "shop", &error));
    ks_shelf_close(shelf);
    assert_true(is_there(in(folder, "s1/catalog.sqlite"))); /* it is what undoes a drop */
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_that_are_none_are_refused),
        cmocka_unit_test(test_odd_names_have_folders_of_their_own),
        cmocka_unit_test(test_folders_that_are_called_as_no_collection_is),
        cmocka_unit_test(test_links_are_not_followed),
        cmocka_unit_test(test_what_is_made_is_there_again),
        cmocka_unit_test(test_a_dropped_one_lives_while_it_is_borrowed),
        cmocka_unit_test(test_one_of_the_same_name_waits),
        cmocka_unit_test(test_what_a_crash_left_goes),
        cmocka_unit_test(test_one_that_cannot_be_opened_is_left_out_and_kept),
        cmocka_unit_test(test_a_collection_alone),
        cmocka_unit_test(test_a_shelf_that_is_not_there),
        cmocka_unit_test(test_who_only_reads_changes_nothing),
        cmocka_unit_test(test_aliases_change_all_or_none),
        cmocka_unit_test(test_a_file_of_aliases_that_is_none),
        cmocka_unit_test(test_texts_are_kept),
        cmocka_unit_test(test_snapshots_have_a_place),
    };
    return cmocka_run_group_tests(tests, data_folder_make, data_folder_remove);
}
