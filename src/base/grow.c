/* SPDX-License-Identifier: Apache-2.0 */
#include "base/grow.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

/* No struct will ever be longer. */
enum { SIZE_MOST = 1 << 16 };

struct shape {
    const char *name, *init;
    size_t first; /* bytes up to the end of the last member of the first release */
    size_t today;
};

#define END_OF(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))
#define SHAPE(type, init, last_of_first)                                                                               \
    { #type, #init, END_OF(type, last_of_first), sizeof(type) }

static const struct shape shapes[KI_GROWN_COUNT] = {
    [KI_GROWN_CPU] = SHAPE(kith_cpu, KITH_CPU_INIT, l3_bytes),
    [KI_GROWN_DEVICE] = SHAPE(kith_device, KITH_DEVICE_INIT, reserved),
    [KI_GROWN_READER_OPTIONS] = SHAPE(kith_reader_options, KITH_READER_OPTIONS_INIT, max_rows),
    [KI_GROWN_READER_INFO] = SHAPE(kith_reader_info, KITH_READER_INFO_INIT, file_bytes),
    [KI_GROWN_SOURCE] = SHAPE(kith_source, KITH_SOURCE_INIT, context),
    [KI_GROWN_BUILD_OPTIONS] = SHAPE(kith_build_options, KITH_BUILD_OPTIONS_INIT, progress_context),
    [KI_GROWN_BUILD_REPORT] = SHAPE(kith_build_report, KITH_BUILD_REPORT_INIT, verify_ns),
    [KI_GROWN_OPEN_OPTIONS] = SHAPE(kith_open_options, KITH_OPEN_OPTIONS_INIT, populate),
    [KI_GROWN_INDEX_INFO] = SHAPE(kith_index_info, KITH_INDEX_INFO_INIT, section),
    [KI_GROWN_SECTION] = SHAPE(kith_section, KITH_SECTION_INIT, count),
    [KI_GROWN_EXPLAIN] = SHAPE(kith_explain, KITH_EXPLAIN_INIT, stage_ns),
    [KI_GROWN_QUERIES] = SHAPE(kith_queries, KITH_QUERIES_INIT, stride_bytes),
    [KI_GROWN_SEARCH_OPTIONS] = SHAPE(kith_search_options, KITH_SEARCH_OPTIONS_INIT, code),
    [KI_GROWN_JOIN_OPTIONS] = SHAPE(kith_join_options, KITH_JOIN_OPTIONS_INIT, progress_context),
    [KI_GROWN_JOIN_REPORT] = SHAPE(kith_join_report, KITH_JOIN_REPORT_INIT, output_bytes),
    [KI_GROWN_TUNE_OPTIONS] = SHAPE(kith_tune_options, KITH_TUNE_OPTIONS_INIT, progress_context),
    [KI_GROWN_COLLECTION_OPTIONS] = SHAPE(kith_collection_options, KITH_COLLECTION_OPTIONS_INIT, model),
    [KI_GROWN_COLLECTION_OPEN_OPTIONS] =
        SHAPE(kith_collection_open_options, KITH_COLLECTION_OPEN_OPTIONS_INIT, resident_bytes),
    [KI_GROWN_ITEMS] = SHAPE(kith_items, KITH_ITEMS_INIT, if_version),
    [KI_GROWN_WRITE_REPORT] = SHAPE(kith_write_report, KITH_WRITE_REPORT_INIT, unmet),
    [KI_GROWN_SCROLL] = SHAPE(kith_scroll, KITH_SCROLL_INIT, reserved),
    [KI_GROWN_COLLECTION_INFO] = SHAPE(kith_collection_info, KITH_COLLECTION_INFO_INIT, own_segments),
    [KI_GROWN_REPAIR_REPORT] = SHAPE(kith_repair_report, KITH_REPAIR_REPORT_INIT, segments),
    [KI_GROWN_HITS] = SHAPE(kith_hits, KITH_HITS_INIT, expires_ms),
    [KI_GROWN_ASK] = SHAPE(kith_ask, KITH_ASK_INIT, user),
    [KI_GROWN_ASK_REPORT] = SHAPE(kith_ask_report, KITH_ASK_REPORT_INIT, generation),
    [KI_GROWN_PROFILE_OPTIONS] = SHAPE(kith_profile_options, KITH_PROFILE_OPTIONS_INIT, threshold),
    [KI_GROWN_PROFILE_REPORT] = SHAPE(kith_profile_report, KITH_PROFILE_REPORT_INIT, threshold),
    [KI_GROWN_REBUILD_REPORT] = SHAPE(kith_rebuild_report, KITH_REBUILD_REPORT_INIT, skipped),
    [KI_GROWN_GENERATION_OPTIONS] = SHAPE(kith_generation_options, KITH_GENERATION_OPTIONS_INIT, vector_count),
    [KI_GROWN_GENERATION_INFO] = SHAPE(kith_generation_info, KITH_GENERATION_INFO_INIT, created_ms),
    [KI_GROWN_GENERATION_CHECK_OPTIONS] =
        SHAPE(kith_generation_check_options, KITH_GENERATION_CHECK_OPTIONS_INIT, progress_context),
    [KI_GROWN_GENERATION_REPORT] = SHAPE(kith_generation_report, KITH_GENERATION_REPORT_INIT, overlap),
    [KI_GROWN_FLIP_OPTIONS] = SHAPE(kith_flip_options, KITH_FLIP_OPTIONS_INIT, check),
    [KI_GROWN_FLIP_REPORT] = SHAPE(kith_flip_report, KITH_FLIP_REPORT_INIT, pause_ns),
    [KI_GROWN_LOAD_OPTIONS] = SHAPE(kith_load_options, KITH_LOAD_OPTIONS_INIT, no_calibration),
    [KI_GROWN_LOAD_REPORT] = SHAPE(kith_load_report, KITH_LOAD_REPORT_INIT, commit_ns),
};

/* Callers' structs need not be ones of today's types. */
static size_t size_of(const void *given) {
    size_t size;
    memcpy(&size, given, sizeof(size));
    return size;
}

kith_status ki_grown_check(ki_grown which, const void *given, kith_error *error) {
    const struct shape *shape = &shapes[which];
    if (!given) return KITH_OK;
    const size_t size = size_of(given);
    if (size >= shape->first && size <= SIZE_MOST) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "%s: struct_size is %zu, at least %zu were expected: begin with %s", shape->name,
                   size, shape->first, shape->init);
}

kith_status ki_grown_read(ki_grown which, const void *given, void *today, kith_error *error) {
    const struct shape *shape = &shapes[which];
    const kith_status status = ki_grown_check(which, given, error);
    if (status != KITH_OK || !given) return status;
    const unsigned char *from = given;
    const size_t size = size_of(given), known = ki_min_size(size, shape->today);
    for (size_t i = known; i < size; i++)
        if (from[i])
            return ki_fail(error, KITH_E_ARG,
                           "%s: byte %zu of %zu is set, but kith %s knows %zu: the caller was compiled with a newer "
                           "kith.h, and asks for what this library lacks",
                           shape->name, i, size, kith_version(), shape->today);
    memcpy((unsigned char *)today + sizeof(size_t), from + sizeof(size_t), known - sizeof(size_t));
    return KITH_OK;
}

void ki_grown_write(ki_grown which, const void *today, void *given) {
    if (!given) return;
    unsigned char *to = given;
    const size_t size = size_of(given), known = ki_min_size(size, shapes[which].today);
    memcpy(to + sizeof(size_t), (const unsigned char *)today + sizeof(size_t), known - sizeof(size_t));
    memset(to + known, 0, size - known);
}
