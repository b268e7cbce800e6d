/* SPDX-License-Identifier: Apache-2.0
 *
 * The demo's pictures as a collection: an item each, with what it shows, a price and the picture itself as its payload.
 * The folder is kept beside the page, so that one can go on with it, and `kith serve` it.
 *
 * S1. Items are pictures of half the width and height, 14 x 14 means of four pixels: a quarter of the work and of the
 *     disk, and what lies near each other does so still.
 * S2. The picture in the payload is the whole one, as a PNG inside of a data: address, dark on white as shops have them.
 * S3. A folder is replaced only if the collection in it says by its model that this command made it. The catalog, which
 *     says so, goes last: what an interrupted run leaves can be replaced as well. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "demo/demo.h"
#include "demo/picture.h"
#include "stats.h"

#define MODEL      "kith demo: 14 x 14 pixels"
#define CATALOG    "catalog.sqlite"
#define BATCH      4000u
#define DEPTH_MOST 8

/* ---- The folder -------------------------------------------------------------------------------------------------- */

/* Remove what is in a folder, but for a file called `spared` (or NULL). False: errno says why. */
static bool empty_folder(int parent, const char *name, const char *spared, int depth) {
    const int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *folder = fd < 0 ? NULL : fdopendir(fd);
    bool fine = folder && depth < DEPTH_MOST;
    struct dirent *entry;
    if (!folder && fd >= 0) close(fd);
    while (fine && (entry = readdir(folder))) {
        const char *within = entry->d_name;
        if (strcmp(within, ".") == 0 || strcmp(within, "..") == 0 || (spared && strcmp(within, spared) == 0)) continue;
        if (unlinkat(dirfd(folder), within, 0) == 0) continue;
        fine = (errno == EISDIR || errno == EPERM) && empty_folder(dirfd(folder), within, NULL, depth + 1) &&
               unlinkat(dirfd(folder), within, AT_REMOVEDIR) == 0;
    }
    if (folder) closedir(folder);
    return fine;
}

static int remove_shop(const char *path) {
    if (empty_folder(AT_FDCWD, path, CATALOG, 0) && empty_folder(AT_FDCWD, path, NULL, 0) && rmdir(path) == 0)
        return EXIT_OK;
    return fail(EXIT_STORAGE, "%s: cannot remove the collection of an earlier run: %s", path, strerror(errno));
}

static bool is_empty(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    bool empty = folder != NULL;
    while (empty && (entry = readdir(folder)))
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    if (folder) closedir(folder);
    return empty;
}

/* Opened as for writing: nobody else may have it. */
static int check_maker(const char *path) {
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_collection *collection = NULL;
    kith_error error = {0};
    options.no_background = 1;
    options.threads = 1;
    const kith_status status = kith_collection_open(path, &options, &collection, &error);
    if (status == KITH_E_BUSY) return fail_status(status, &error);
    const bool ours =
        status == KITH_OK && kith_collection_get_info(collection, &info) == KITH_OK && strcmp(info.model, MODEL) == 0;
    kith_collection_close(collection);
    if (ours) return EXIT_OK;
    return fail(EXIT_USAGE,
                "%s is where the demo makes its collection, and holds something else%s%s; move it away, or name "
                "another page with --output",
                path, status == KITH_OK ? "" : ": ", status == KITH_OK ? "" : error.text);
}

int demo_shop_check(const struct demo *demo) {
    struct stat about;
    const char *path = demo->shop.path;
    if (lstat(path, &about) != 0)
        return errno == ENOENT ? EXIT_OK : fail(EXIT_STORAGE, "%s: %s", path, strerror(errno));
    if (S_ISDIR(about.st_mode)) return is_empty(path) ? EXIT_OK : check_maker(path);
    return fail(EXIT_USAGE, "%s is where the demo makes its collection, and is no folder", path);
}

/* ---- Items ------------------------------------------------------------------------------------------------------- */

double demo_price(const struct demo *demo, uint64_t row) {
    static const double usual[DEMO_CLASSES] = {15, 40, 45, 60, 120, 50, 35, 80, 60, 110};
    const uint64_t mixed = (row + 1) * UINT64_C(0x9E3779B97F4A7C15) >> 40;
    return round(usual[demo->train_labels.data[row]] * (0.6 + 0.8 * (double)(mixed % 1000) / 1000) * 2) / 2;
}

static void halve(const uint8_t *picture, uint8_t *to) {
    for (size_t y = 0; y < DEMO_SHOP_SIDE; y++)
        for (size_t x = 0; x < DEMO_SHOP_SIDE; x++) {
            const uint8_t *at = picture + 2 * y * DEMO_SIDE + 2 * x;
            const unsigned sum = (unsigned)at[0] + at[1] + at[DEMO_SIDE] + at[DEMO_SIDE + 1];
            to[y * DEMO_SHOP_SIDE + x] = (uint8_t)((sum + 2) / 4);
        }
}

struct batch {
    uint8_t *rows;
    struct html payloads; /* text that grows */
    uint64_t *ids, *ends;
};

static void add_payload(struct html *payloads, const struct demo *demo, size_t row) {
    uint8_t picture[DEMO_DIM];
    for (size_t i = 0; i < DEMO_DIM; i++) picture[i] = (uint8_t)(255 - demo->train.data[row * DEMO_DIM + i]);
    html_printf(payloads, "{\"kind\":\"%s\",\"price\":%.2f,\"image\":\"",
                demo_class_names[demo->train_labels.data[row]], demo_price(demo, row));
    png_data_uri(payloads, picture, DEMO_SIDE, DEMO_SIDE);
    html_raw(payloads, "\"}");
}

static int write_rows(struct demo *demo, struct batch *batch, size_t first, size_t count) {
    kith_error error = {0};
    batch->payloads.bytes = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t row = first + i;
        batch->ids[i] = row;
        halve(demo->train.data + row * DEMO_DIM, batch->rows + i * DEMO_SHOP_DIM);
        add_payload(&batch->payloads, demo, row);
        batch->ends[i] = batch->payloads.bytes;
    }
    if (!html_ok(&batch->payloads)) {
        progress_end(&demo->progress);
        return fail(EXIT_OTHER, "out of memory");
    }
    const kith_item_vectors vectors = {.data = batch->rows, .dtype = KITH_U8, .dim = DEMO_SHOP_DIM};
    kith_items items = KITH_ITEMS_INIT;
    items.ids = (kith_ids){.count = count, .ids = batch->ids};
    items.vectors = &vectors;
    items.vector_count = 1;
    items.payload_bytes = batch->payloads.text;
    items.payload_ends = batch->ends;
    const kith_status status = kith_collection_write(demo->shop.collection, &items, KITH_INSERT, NULL, &error);
    if (status == KITH_OK) return EXIT_OK;
    progress_end(&demo->progress);
    return fail_status(status, &error);
}

static int write_all(struct demo *demo) {
    struct batch batch = {.rows = malloc((size_t)BATCH * DEMO_SHOP_DIM),
                          .ids = calloc(BATCH, sizeof(uint64_t)),
                          .ends = calloc(BATCH, sizeof(uint64_t))};
    const size_t total = demo->train.count;
    int failed = batch.rows && batch.ids && batch.ends ? EXIT_OK : fail(EXIT_OTHER, "out of memory");
    for (size_t done = 0; !failed && done < total;) {
        const size_t count = total - done < BATCH ? total - done : BATCH;
        failed = write_rows(demo, &batch, done, count);
        done += count;
        if (!failed && progress_step(&demo->progress, "filling the shop", "items", done, total)) {
            progress_end(&demo->progress);
            failed = fail(interrupt_exit_code(), "interrupted");
        }
    }
    free(batch.rows);
    html_free(&batch.payloads);
    free(batch.ids);
    free(batch.ends);
    return failed;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static int make(struct demo *demo) {
    static const kith_field fields[] = {{.name = "kind", .type = KITH_FIELD_TAG},
                                        {.name = "price", .type = KITH_FIELD_FLOAT}};
    static const kith_vector_spec vector = {.dim = DEMO_SHOP_DIM, .dtype = KITH_U8, .metric = KITH_COSINE};
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_collection_open_options options = KITH_COLLECTION_OPEN_OPTIONS_INIT;
    kith_error error = {0};
    made.vectors = &vector;
    made.vector_count = 1;
    made.fields = fields;
    made.field_count = sizeof(fields) / sizeof(*fields);
    made.model = MODEL;
    options.no_background = 1; /* all is sealed below, at once */
    options.pool = demo->pool;
    kith_status status = kith_collection_create(demo->shop.path, &made, &error);
    if (status == KITH_OK) status = kith_collection_open(demo->shop.path, &options, &demo->shop.collection, &error);
    if (status == KITH_OK) status = kith_result_create(&demo->shop.result, &error);
    return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
}

static int seal(struct demo *demo) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_error error = {0};
    const kith_status status = kith_collection_compact(demo->shop.collection, progress_report, &demo->progress, &error);
    if (status == KITH_OK) {
        if (kith_collection_get_info(demo->shop.collection, &info) == KITH_OK) demo->shop.bytes = info.disk_bytes;
        return EXIT_OK;
    }
    progress_end(&demo->progress);
    return fail_status(status, &error);
}

int demo_shop(struct demo *demo) {
    struct stat about;
    int failed = demo_shop_check(demo);
    if (!failed && lstat(demo->shop.path, &about) == 0) failed = remove_shop(demo->shop.path);
    if (failed) return failed;
    const uint64_t start = now_ns();
    failed = make(demo);
    if (!failed) failed = write_all(demo);
    if (!failed) failed = seal(demo);
    demo->shop.seconds = (double)(now_ns() - start) * 1e-9;
    return failed ? failed : demo_visit(demo);
}

void demo_shop_close(struct demo_shop *shop) {
    kith_result_destroy(shop->result);
    kith_collection_close(shop->collection);
    free(shop->path);
    *shop = (struct demo_shop){0};
}
