/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets of index files share: bytes become a file in memory, whose checksums are made right as an
 * author of a malicious file would, and whatever opens is verified, read, and searched by every plan with every code.
 * Any answer of the contract's shape is fine; crashing, reading outside of the map and hanging are not. */
#ifndef KI_FUZZ_INDEX_H
#define KI_FUZZ_INDEX_H

#include "fuzz_file.h"
#include "index/calibration.h"
#include "support/reseal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { FUZZ_K_MAX = 40, FUZZ_DIM_MAX = 4096, FUZZ_ROWS_MAX = 1 << 20, FUZZ_QUERIES = 2 };

/* The calibration has a hash of its own. */
static void fuzz_reseal_calibration(uint8_t *data, const ki_layout *layout) {
    const ki_part *part = ki_layout_find(layout, KI_PART_CALIBRATION);
    if (!part || part->bytes < ki_calibration_bytes(0)) return;
    const size_t hashed = (size_t)part->bytes - sizeof(uint64_t);
    const uint64_t hash = XXH3_64bits(data + part->offset, hashed);
    memcpy(data + part->offset + hashed, &hash, sizeof(hash));
}

/* Hash what the header's numbers describe; leave the rest to the reader's checks. */
static void fuzz_reseal(uint8_t *data, size_t bytes) {
    ki_layout layout;
    memcpy(data, KI_MAGIC, KI_MAGIC_BYTES);
    reseal_tables(data, bytes);
    if (reseal_layout(data, bytes, &layout) == KITH_OK) {
        fuzz_reseal_calibration(data, &layout);
        reseal_blocks(data, &layout);
        ki_layout_free(&layout);
    }
    reseal_header(data, bytes);
}

static void fuzz_lookups(const kith_index *index, const kith_index_info *info) {
    static float vector[KITH_DIM_MAX];
    kith_error error;
    const char *text;
    size_t bytes;
    uint64_t id;
    const uint64_t ids[] = {0, 1, info->rows / 2, info->rows - 1, info->rows, UINT64_MAX};
    kith_section section = KITH_SECTION_INIT;
    for (size_t i = 0; kith_index_section(index, i, &section) == KITH_OK; i++) fuzz_touch(section.name, 1);
    if (info->dim <= KITH_DIM_MAX / 4) (void)!kith_index_vectors(index, ids, 4, vector, &error);
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        (void)!kith_index_vector(index, ids[i], vector, &error);
        if (kith_index_name(index, ids[i], &text, &bytes) == KITH_OK) fuzz_touch(text, bytes);
        if (kith_index_string_id(index, ids[i], &text, &bytes) == KITH_OK) {
            fuzz_touch(text, bytes);
            (void)!kith_index_lookup(index, text, bytes, &id);
        }
    }
    (void)!kith_index_lookup(index, "", 0, &id);
}

/* Distances ascend, none is NaN, and fillers come last. */
static void fuzz_check(const uint64_t *ids, const float *distances, size_t k) {
    for (size_t i = 0; i < k; i++) {
        if (isnan(distances[i])) abort();
        if (i && distances[i] < distances[i - 1]) abort();
        if (i && ids[i - 1] == KITH_ID_NONE && distances[i - 1] == INFINITY && ids[i] != KITH_ID_NONE) abort();
    }
}

/* One request, as search and as range search. */
static void fuzz_request(const kith_index *index, const kith_queries *queries, size_t k, kith_search_options *options,
                         kith_scratch *scratch) {
    uint64_t ids[FUZZ_QUERIES * FUZZ_K_MAX];
    float distances[FUZZ_QUERIES * FUZZ_K_MAX];
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_ranges ranges;
    kith_error error;
    options->timeout_ns = UINT64_C(1000000000);
    options->explain = &explain;
    if (kith_search(index, queries, k, options, scratch, ids, distances, &error) == KITH_OK)
        for (size_t i = 0; i < queries->count; i++) fuzz_check(ids + i * k, distances + i * k, k);
    (void)!kith_search_range(index, queries, 1.0f, options, scratch, &ranges, &error);
}

/* Every plan; the approximate one with every code, by numbers of its own and by the calibration. */
static void fuzz_plans(const kith_index *index, const kith_queries *queries, unsigned salt, const kith_filter *filter,
                       kith_scratch *scratch) {
    const size_t k = salt % 4 ? salt % 4 : FUZZ_K_MAX, nprobe = 1 + salt / 4 % 8;
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_PQ; plan++) {
        const int codes = plan == KITH_PLAN_IVF ? KITH_SCAN_ROWS : KITH_SCAN_AUTO;
        for (int code = KITH_SCAN_AUTO; code <= codes; code++) {
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = (kith_plan)plan;
            options.filter = filter;
            options.code = (kith_scan_code)code;
            options.nprobe = plan == KITH_PLAN_IVF ? nprobe : 0;
            options.effort = plan > KITH_PLAN_IVF ? 1 + salt / 4 % 8 * 50 : 0;
            options.rerank = salt / 32 % 2 ? k + salt % 128 : 0;
            fuzz_request(index, queries, k, &options, scratch);
            options.nprobe = options.effort = 0;
            options.target_recall = salt / 64 % 2 ? 0.5 : 0.99;
            fuzz_request(index, queries, k, &options, scratch);
        }
    }
}

static void fuzz_searches(const kith_index *index, const kith_index_info *info, unsigned salt) {
    static float query[FUZZ_QUERIES * FUZZ_DIM_MAX]; /* for bits only the first bytes count */
    kith_error error;
    kith_scratch *scratch = NULL;
    kith_filter *filter = NULL;
    const uint64_t allowed[] = {0, 1, 2, 5, 77, info->rows - 1};
    const float scale = salt / 128 % 2 ? 1e15f : 1;
    for (size_t i = 0; i < FUZZ_QUERIES * FUZZ_DIM_MAX; i++) query[i] = ((float)(i % 7) - 2.5f) * scale;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = query;
    queries.dtype = info->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = FUZZ_QUERIES;
    queries.dim = info->dim;
    if (kith_scratch_create(index, NULL, &scratch, &error) != KITH_OK) return;
    (void)!kith_filter_create(index, allowed, sizeof(allowed) / sizeof(*allowed), NULL, &filter, &error);
    fuzz_plans(index, &queries, salt, NULL, scratch);
    fuzz_plans(index, &queries, salt, filter, scratch);
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
}

/* Try a file; salt varies the searches. */
static void fuzz_try_index(const char *path, unsigned salt) {
    kith_error error;
    kith_index *index = NULL;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    (void)!kith_index_verify(path, NULL, NULL, NULL, &error);
    if (kith_index_open(path, NULL, &index, &error) != KITH_OK) return;
    kith_index_get_info(index, &info);
    fuzz_lookups(index, &info);
    if (info.dim <= FUZZ_DIM_MAX && info.rows <= FUZZ_ROWS_MAX) fuzz_searches(index, &info, salt);
    kith_index_close(index);
}

#endif
