/* SPDX-License-Identifier: Apache-2.0
 *
 * `kith get` and `kith delete`: items by their ids, or those that a filter matches. */
#include "collection/collection.h"
#include "table.h"
#include "terminal.h"

#include <string.h>

enum { PORTION = 1000 }; /* items of one read */

static unsigned with_of(const struct arguments *arguments) {
    return KITH_WITH_PAYLOAD | KITH_WITH_VERSION |
           (option_given(arguments, OPTION_WITH_VECTORS) ? (unsigned)KITH_WITH_VECTORS : 0);
}

static int print_items(const struct shop *shop, unsigned with) {
    kith_hits hits = KITH_HITS_INIT;
    struct json json = JSON_LINES(stdout);
    if (kith_result_hits(shop->result, &hits) != KITH_OK) return fail(EXIT_OTHER, "the result cannot be read");
    for (size_t i = 0; i < hits.count; i++) {
        emit_object(&json, NULL);
        shop_item_json(&json, shop, &hits, i);
        if (with & KITH_WITH_VECTORS) shop_vectors_json(&json, shop, i);
        emit_object_end(&json);
    }
    return fflush(stdout) ? EXIT_BROKEN : EXIT_OK;
}

static int get_by_id(const struct arguments *arguments, struct shop *shop) {
    struct shop_ids ids = {0};
    kith_error error = {0};
    kith_hits hits = KITH_HITS_INIT;
    const size_t wanted = arguments->operand_count - 1;
    int failed = shop_ids_parse(shop, arguments->operands + 1, wanted, &ids);
    if (!failed) {
        const kith_status status = kith_collection_generation_get(shop->collection, shop->generation, &ids.ids,
                                                                  with_of(arguments), shop->result, &error);
        failed = status == KITH_OK ? print_items(shop, with_of(arguments)) : fail_status(status, &error);
    }
    if (!failed && kith_result_hits(shop->result, &hits) == KITH_OK && hits.count < wanted)
        failed = fail(EXIT_ABSENT, "%s: %zu of the %zu ids are not there", shop->path, wanted - hits.count, wanted);
    shop_ids_free(&ids);
    return failed;
}

static int get_all(const struct arguments *arguments, struct shop *shop) {
    kith_scroll scroll = KITH_SCROLL_INIT;
    kith_error error = {0};
    uint64_t left = option_number(arguments, OPTION_LIMIT, UINT64_MAX);
    scroll.filter = option_text(arguments, OPTION_WHERE, NULL);
    scroll.with = with_of(arguments);
    scroll.generation = shop->generation;
    int failed = EXIT_OK;
    while (left && !failed) {
        kith_hits hits = KITH_HITS_INIT;
        scroll.limit = left < PORTION ? (size_t)left : PORTION;
        const kith_status status = kith_collection_scroll(shop->collection, &scroll, shop->result, &error);
        if (status != KITH_OK) return fail_status(status, &error);
        failed = print_items(shop, scroll.with);
        if (kith_result_hits(shop->result, &hits) != KITH_OK || hits.count < scroll.limit) break;
        scroll.from_start = 0;
        scroll.after = hits.ids[hits.count - 1];
        left -= hits.count;
        if (interrupt_asked(NULL)) return interrupt_exit_code();
    }
    return failed;
}

static int print_count(const struct arguments *arguments, struct shop *shop) {
    kith_error error = {0};
    uint64_t count = 0;
    const kith_status status =
        kith_collection_count(shop->collection, option_text(arguments, OPTION_WHERE, NULL), &count, &error);
    if (status != KITH_OK) return fail_status(status, &error);
    printf("%llu\n", (unsigned long long)count);
    return EXIT_OK;
}

int command_get(const struct arguments *arguments) {
    struct shop shop = {0};
    const bool by_id = arguments->operand_count > 1, count = option_given(arguments, OPTION_COUNT_ONLY);
    if (by_id && (option_given(arguments, OPTION_WHERE) || count || option_given(arguments, OPTION_LIMIT)))
        return fail_usage(COMMAND_GET, "get takes ids, or --where, --limit and --count: not both");
    if (option_given(arguments, OPTION_GENERATION) && !option_given(arguments, OPTION_WITH_VECTORS))
        return fail_usage(COMMAND_GET, "--generation says whose vectors are printed: it goes with --vectors");
    int failed = shop_open(arguments, true, &shop);
    if (!failed) failed = by_id ? get_by_id(arguments, &shop) : count ? print_count(arguments, &shop) : EXIT_OK;
    if (!failed && !by_id && !count) failed = get_all(arguments, &shop);
    shop_close(&shop);
    return failed;
}

/* ---- Deleting ---------------------------------------------------------------------------------------------------- */

static int delete_items(const struct arguments *arguments, struct shop *shop, kith_write_report *report) {
    struct shop_ids ids = {0};
    kith_error error = {0};
    if (option_given(arguments, OPTION_WHERE)) {
        const kith_status status =
            kith_collection_delete_where(shop->collection, option_text(arguments, OPTION_WHERE, ""), report, &error);
        return status == KITH_OK ? EXIT_OK : fail_status(status, &error);
    }
    int failed = shop_ids_parse(shop, arguments->operands + 1, arguments->operand_count - 1, &ids);
    if (!failed) {
        const kith_status status = kith_collection_delete(shop->collection, &ids.ids, NULL, report, &error);
        if (status != KITH_OK) failed = fail_status(status, &error);
    }
    shop_ids_free(&ids);
    return failed;
}

int command_delete(const struct arguments *arguments) {
    struct shop shop = {0};
    kith_write_report report = KITH_WRITE_REPORT_INIT;
    char count[HUMAN_BYTES];
    if ((arguments->operand_count > 1) == option_given(arguments, OPTION_WHERE))
        return fail_usage(COMMAND_DELETE, "delete takes ids, or --where FILTER");
    int failed = shop_open(arguments, false, &shop);
    if (!failed) failed = delete_items(arguments, &shop, &report);
    shop_close(&shop);
    if (failed) return failed;
    if (option_given(arguments, OPTION_JSON)) {
        struct json json = JSON_LINES(stdout);
        emit_object(&json, NULL);
        emit_uint(&json, "removed", report.removed);
        emit_uint(&json, "version", report.version);
        emit_object_end(&json);
    } else if (!option_given(arguments, OPTION_QUIET)) {
        printf("%s: %s items removed\n", shop.path, human_count(count, report.removed));
    }
    return EXIT_OK;
}
