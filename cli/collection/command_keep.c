/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith snapshot`, `restore`, `compact` and `repair`. */
#include "collection/collection.h"
#include "progress.h"
#include "table.h"
#include "terminal.h"

static void done_line(const struct arguments *arguments, const char *path, const char *what, uint64_t took_ns) {
    char time[HUMAN_BYTES];
    if (option_given(arguments, OPTION_QUIET)) return;
    printf("%s: %s in %s\n", path, what, human_duration(time, (double)took_ns * 1e-9));
}

int command_snapshot(const struct arguments *arguments) {
    struct shop shop = {0};
    kith_error error = {0};
    const uint64_t start_ns = now_ns();
    const int failed = shop_open(arguments, true, &shop);
    kith_status status = KITH_OK;
    if (!failed) status = kith_collection_snapshot(shop.collection, arguments->operands[1], &error);
    shop_close(&shop);
    if (failed || status != KITH_OK) return failed ? failed : fail_status(status, &error);
    done_line(arguments, arguments->operands[1], "a snapshot", now_ns() - start_ns);
    return EXIT_OK;
}

int command_restore(const struct arguments *arguments) {
    kith_error error = {0};
    struct progress progress;
    const uint64_t start_ns = now_ns();
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    const kith_status status =
        kith_collection_restore(arguments->operands[0], arguments->operands[1], progress_report, &progress, &error);
    progress_end(&progress);
    if (status != KITH_OK) return fail_status(status, &error);
    done_line(arguments, arguments->operands[1], "restored", now_ns() - start_ns);
    return EXIT_OK;
}

int command_compact(const struct arguments *arguments) {
    struct shop shop = {0};
    kith_error error = {0};
    struct progress progress;
    const uint64_t start_ns = now_ns();
    const int failed = shop_open(arguments, false, &shop);
    kith_status status = KITH_OK;
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    if (!failed) status = kith_collection_compact(shop.collection, progress_report, &progress, &error);
    progress_end(&progress);
    shop_close(&shop);
    if (failed || status != KITH_OK) return failed ? failed : fail_status(status, &error);
    done_line(arguments, arguments->operands[0], "one segment", now_ns() - start_ns);
    return EXIT_OK;
}

/* ---- Repairing --------------------------------------------------------------------------------------------------- */

static void print_lost(void *context, uint64_t id, const char *text, size_t text_bytes, const char *why) {
    struct json json = JSON_LINES(stdout);
    (void)context;
    emit_object(&json, NULL);
    if (text_bytes) {
        emit_bytes(&json, "lost", text, text_bytes);
    } else {
        emit_uint(&json, "lost", id);
    }
    emit_text(&json, "why", why);
    emit_object_end(&json);
}

int command_repair(const struct arguments *arguments) {
    kith_error error = {0};
    kith_repair_report report = KITH_REPAIR_REPORT_INIT;
    struct progress progress;
    char items[HUMAN_BYTES], lost[HUMAN_BYTES];
    progress_start(&progress, option_given(arguments, OPTION_QUIET));
    const kith_status status =
        kith_collection_repair(arguments->operands[0], print_lost, NULL, progress_report, &progress, &report, &error);
    progress_end(&progress);
    if (status != KITH_OK) return fail_status(status, &error);
    if (!option_given(arguments, OPTION_QUIET))
        fprintf(stderr, "%s: %s items are whole, %s are lost\n", arguments->operands[0],
                human_count(items, report.items), human_count(lost, report.lost));
    return EXIT_OK;
}
