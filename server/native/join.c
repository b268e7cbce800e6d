/* SPDX-License-Identifier: Apache-2.0
 *
 * POST /v1/collections/{}/join: for every item its k nearest others, as a job. A page of items is read, and their
 * vectors are searched together, which the planner turns into matrix products. The file is a line an item, {"id": 7,
 * "results": [{"id": 9, "distance": 0.25}, ...]}, and appears under its name when it is whole. What is written to the
 * collection meanwhile may be in it or not. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "native/inner.h"

enum { PAGE = 256, FLUSH_BYTES = 1 << 20 };

struct join {
    ks_shelf *shelf;
    size_t k;
    double target;
    uint32_t generation;
    char *filter, *using; /* NULL: all; the unnamed one or the only one */
};

/* What one run of it works with. */
struct joining {
    const struct join *join;
    ks_shop *shop;
    kith_vector_spec spec;
    kith_result *page, *found;
    FILE *file;
    ks_text text;
    uint64_t last, items;
    unsigned char *rows; /* of the items of a page that have a vector */
    size_t places[PAGE];
};

static void forget(void *context) {
    struct join *join = context;
    free(join->filter);
    free(join->using);
    free(join);
}

/* ---- Lines ------------------------------------------------------------------------------------------------------- */

static void add_line(struct joining *joining, const kith_hits *page, size_t at, const kith_hits *found, size_t query) {
    ks_json json = KS_JSON(&joining->text);
    size_t left = joining->join->k;
    ks_json_object(&json, NULL);
    ks_v1_id(joining->shop, page, at, &json, "id");
    ks_json_array(&json, "results");
    for (size_t i = query ? (size_t)found->ends[query - 1] : 0; i < found->ends[query] && left; i++) {
        if (found->ids[i] == page->ids[at]) continue; /* itself; the numbers that stand for strings are the same */
        ks_json_object(&json, NULL);
        ks_v1_id(joining->shop, found, i, &json, "id");
        ks_json_float(&json, "distance", found->distances[i] + 0.0f); /* no minus zero */
        ks_json_object_end(&json);
        left--;
    }
    ks_json_array_end(&json);
    ks_json_object_end(&json);
    ks_text_add(&joining->text, "\n", 1);
}

static kith_status fail_file(kith_error *error, const char *what) {
    const kith_status status = errno == ENOSPC || errno == EDQUOT ? KITH_E_NOSPACE : KITH_E_IO;
    *error = (kith_error){.status = status};
    snprintf(error->text, sizeof error->text, "the join's file cannot be %s: %s", what, strerror(errno));
    return status;
}

static kith_status no_memory(kith_error *error) {
    *error = (kith_error){.status = KITH_E_NOMEM, .text = "there is no memory for the join"};
    return KITH_E_NOMEM;
}

static kith_status flush(struct joining *joining, kith_error *error) {
    if (joining->text.failed) return no_memory(error);
    if (joining->text.used && fwrite(joining->text.bytes, 1, joining->text.used, joining->file) != joining->text.used)
        return fail_file(error, "written");
    ks_text_clear(&joining->text);
    return KITH_OK;
}

/* ---- Searching --------------------------------------------------------------------------------------------------- */

/* The vectors of a page, without those that items lack. How many. */
static size_t gather(struct joining *joining, const kith_hits *page) {
    const uint8_t *present = NULL;
    const size_t row_bytes = ks_v1_row_bytes(&joining->spec);
    const char *rows = kith_result_vectors(joining->page, joining->spec.name, &present);
    size_t count = 0;
    for (size_t i = 0; rows && i < page->count; i++) {
        if (present && !present[i]) continue;
        memcpy(joining->rows + count * row_bytes, rows + i * row_bytes, row_bytes);
        joining->places[count++] = i;
    }
    return count;
}

static kith_status search_page(struct joining *joining, const kith_hits *page, kith_error *error) {
    const struct join *join = joining->join;
    kith_hits found = KITH_HITS_INIT;
    kith_queries queries = KITH_QUERIES_INIT;
    kith_leg leg = {.vector = joining->spec.name, .queries = &queries};
    kith_ask ask = KITH_ASK_INIT;
    queries.data = joining->rows;
    queries.dtype = joining->spec.dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = gather(joining, page);
    queries.dim = joining->spec.dim;
    if (!queries.count) return KITH_OK;
    ask.legs = &leg;
    ask.leg_count = 1;
    ask.k = join->k + 1;
    ask.filter = join->filter;
    ask.target_recall = join->target;
    ask.generation = join->generation;
    kith_status status = kith_collection_search(joining->shop->collection, &ask, joining->found, error);
    if (status == KITH_OK) status = kith_result_hits(joining->found, &found);
    for (size_t q = 0; status == KITH_OK && q < queries.count; q++) {
        add_line(joining, page, joining->places[q], &found, q);
        joining->items++;
        if (joining->text.used >= FLUSH_BYTES) status = flush(joining, error);
    }
    return status;
}

static kith_status join_all(struct joining *joining, kith_progress_fn progress, void *progress_context,
                            kith_error *error) {
    kith_collection_info info = KITH_COLLECTION_INFO_INIT;
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_progress told = {.struct_size = sizeof told, .stage = "joining", .unit = "items"};
    scroll.filter = joining->join->filter;
    scroll.limit = PAGE;
    scroll.with = KITH_WITH_VECTORS;
    scroll.generation = joining->join->generation;
    kith_status status = kith_collection_get_info(joining->shop->collection, &info);
    told.total = info.items;
    for (int last = 0; status == KITH_OK && !last;) {
        kith_hits page = KITH_HITS_INIT;
        status = kith_collection_scroll(joining->shop->collection, &scroll, joining->page, error);
        if (status == KITH_OK) status = kith_result_hits(joining->page, &page);
        if (status == KITH_OK) status = search_page(joining, &page, error);
        last = page.count < PAGE;
        if (page.count) scroll.after = page.ids[page.count - 1];
        scroll.from_start = 0;
        told.done += page.count;
        if (told.total < told.done) told.total = told.done;
        if (status == KITH_OK && progress(progress_context, &told)) status = KITH_E_CANCELLED;
    }
    return status == KITH_OK ? flush(joining, error) : status;
}

/* ---- The file ---------------------------------------------------------------------------------------------------- */

static kith_status keep_file(struct joining *joining, const char *half, const char *path, kith_error *error) {
    const int failed = fflush(joining->file) != 0 || fsync(fileno(joining->file)) != 0;
    return failed || rename(half, path) != 0 ? fail_file(error, "kept") : KITH_OK;
}

static kith_status join_to(struct joining *joining, const char *path, kith_progress_fn progress, void *progress_context,
                           kith_error *error) {
    char *half = NULL;
    if (asprintf(&half, "%s.half", path) < 0) return no_memory(error);
    kith_status status = KITH_OK;
    const int fd = open(half, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0640);
    joining->file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!joining->file) status = fail_file(error, "made");
    if (fd >= 0 && !joining->file) close(fd);
    if (status == KITH_OK) status = join_all(joining, progress, progress_context, error);
    if (status == KITH_OK) status = keep_file(joining, half, path, error);
    if (joining->file && fclose(joining->file) != 0 && status == KITH_OK) status = fail_file(error, "closed");
    if (status != KITH_OK && fd >= 0) (void)unlink(half);
    free(half);
    return status;
}

static kith_status find_spec(struct joining *joining, kith_error *error) {
    const struct join *join = joining->join;
    for (size_t i = 0; i < joining->shop->vector_count; i++) {
        const kith_status status =
            kith_collection_generation_vector(joining->shop->collection, join->generation, i, &joining->spec, error);
        if (status != KITH_OK) return status;
        if (strcmp(joining->spec.name, join->using ? join->using : "") == 0) return KITH_OK;
        if (!join->using && joining->shop->vector_count == 1) return KITH_OK;
    }
    *error = (kith_error){.status = KITH_E_NOTFOUND, .text = "there is no vector of that name"};
    return KITH_E_NOTFOUND;
}

static kith_status name_file(const struct joining *joining, char **path, kith_error *error) {
    char *folder = NULL, stamp[24];
    const time_t now = time(NULL);
    struct tm utc;
    const kith_status status = ks_shelf_snapshots(joining->join->shelf, joining->shop, &folder, error);
    if (status != KITH_OK) return status;
    strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", gmtime_r(&now, &utc));
    struct timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    const int bytes = asprintf(path, "%s/join-%s-%09ld.ndjson", folder, stamp, precise.tv_nsec);
    free(folder);
    return bytes < 0 ? no_memory(error) : KITH_OK;
}

static kith_status run(void *context, ks_shop *shop, kith_progress_fn progress, void *progress_context, ks_text *made,
                       kith_error *error) {
    struct joining joining = {.join = context, .shop = shop};
    char *path = NULL;
    kith_status status = find_spec(&joining, error);
    if (status == KITH_OK) status = kith_result_create(&joining.page, error);
    if (status == KITH_OK) status = kith_result_create(&joining.found, error);
    if (status == KITH_OK && !(joining.rows = malloc(PAGE * ks_v1_row_bytes(&joining.spec)))) status = no_memory(error);
    if (status == KITH_OK) status = name_file(&joining, &path, error);
    if (status == KITH_OK) status = join_to(&joining, path, progress, progress_context, error);
    if (status == KITH_OK) {
        ks_json json = KS_JSON(made);
        ks_json_object(&json, NULL);
        ks_json_text(&json, "file", strrchr(path, '/') + 1);
        ks_json_text(&json, "path", path);
        ks_json_uint(&json, "items", joining.items);
        ks_json_object_end(&json);
    }
    free(path);
    free(joining.rows);
    ks_text_free(&joining.text);
    kith_result_destroy(joining.page);
    kith_result_destroy(joining.found);
    return status;
}

/* ---- Asking for it ----------------------------------------------------------------------------------------------- */

static int copy(ks_call *call, const char *text, char **to) {
    if (!text || (*to = strdup(text))) return 0;
    ks_call_no_memory(call);
    return -1;
}

static int read_body(ks_call *call, struct join *join) {
    static const char *const known[] = {"k", "target", "exact", "using", "filter", "generation", NULL};
    const char *using = NULL, *filter = NULL;
    uint64_t k = 10, generation = 0, max = ks_app_of(call)->limits.k_max;
    int exact = 0;
    if (!call->body_bytes) return 0;
    if (max > KITH_K_MAX - 1) max = KITH_K_MAX - 1; /* one more is asked for: the item itself */
    const json_t *body = ks_body(call, "an object, or empty");
    if (!body || ks_members_only(call, body, known) != 0 || ks_member_uint(call, body, "k", max, &k) < 0 ||
        ks_member_real(call, body, "target", 0, 1, &join->target) < 0 ||
        ks_member_bool(call, body, "exact", &exact) < 0 || ks_member_text(call, body, "using", &using) < 0 ||
        ks_v1_filter(call, body, &filter) != 0 || ks_member_uint(call, body, "generation", UINT32_MAX, &generation) < 0)
        return -1;
    if (k < 1) {
        ks_call_fail(call, 400, "\"k\" must be at least 1");
        return -1;
    }
    if (exact) join->target = 0;
    join->k = (size_t)k;
    join->generation = (uint32_t)generation;
    return copy(call, using, &join->using) != 0 || copy(call, filter, &join->filter) != 0 ? -1 : 0;
}

void ks_v1_join(ks_call *call) {
    ks_app *app = ks_app_of(call);
    struct join *join = calloc(1, sizeof *join);
    if (!join) {
        ks_call_no_memory(call);
        ks_call_done(call);
        return;
    }
    *join = (struct join){.shelf = app->shelf, .k = 10, .target = app->limits.target_recall};
    if (read_body(call, join) != 0) {
        forget(join);
        ks_call_done(call);
        return;
    }
    ks_v1_begin_job(call, "join", run, forget, join);
}
