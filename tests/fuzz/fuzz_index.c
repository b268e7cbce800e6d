/* SPDX-License-Identifier: Apache-2.0
 *
 * The index reader against hostile bytes. Each input is tried twice: as it is, and with all hashes made right again, as
 * an author of a malicious file would, so that the checks behind the checksums are reached. Whatever opens is verified,
 * read, and searched by every plan: any answer is fine, crashing, reading outside the map and hanging are not. */
#define _GNU_SOURCE
#include "store/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

enum { K = 3, SEARCH_DIM_MAX = 4096, SEARCH_ROWS_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A file in memory, and its name. */
static const char *file_of(const uint8_t *data, size_t bytes) {
    static int fd = -1;
    static char path[64];
    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    if (fd < 0 || ftruncate(fd, 0) != 0 || pwrite(fd, data, bytes, 0) != (ssize_t)bytes) abort();
    return path;
}

/* Hash what the header's numbers describe; leave the rest to the reader's checks. */
static void reseal(uint8_t *data, size_t bytes) {
    ki_header *header = (ki_header *)(void *)data;
    ki_layout layout;
    memcpy(header->magic, KI_MAGIC, KI_MAGIC_BYTES);
    if (ki_header_check(header, "input", bytes, &layout, NULL) == KITH_OK) {
        uint64_t *table = (uint64_t *)(void *)(data + layout.data_end);
        for (uint64_t i = 0; i < layout.first_block[layout.sections]; i++) {
            const ki_block block = ki_layout_block(&layout, i);
            table[i] = XXH3_64bits(data + block.offset, (size_t)block.bytes);
        }
        header->block_table_hash = XXH3_64bits(table, bytes - KI_HEADER_BYTES - (size_t)layout.data_end);
    }
    ki_header_seal(header);
    memcpy(data + bytes - KI_HEADER_BYTES, header, KI_HEADER_BYTES);
}

/* Read every byte, so that the sanitizer sees each. */
static void touch(const void *data, uint64_t bytes) {
    uint8_t sum = 0;
    for (uint64_t i = 0; i < bytes; i++) sum = (uint8_t)(sum + ((const uint8_t *)data)[i]);
    __asm__ volatile("" : : "r"(sum)); /* the sum counts as used */
}

static void try_segment(const char *path) {
    kith_error error;
    ki_segment *segment = NULL;
    if (ki_segment_open(path, NULL, &segment, &error) != KITH_OK) {
        if (!memchr(error.text, 0, sizeof(error.text))) abort();
        return;
    }
    (void)ki_segment_verify(segment, NULL, NULL, NULL, &error);
    for (uint32_t kind = 0; kind <= KI_SECTION_META + 1; kind++) {
        const ki_section section = ki_segment_section(segment, kind);
        if (section.data) touch(section.data, section.bytes + KI_SECTION_ALIGN);
    }
    ki_segment_close(segment);
}

static void try_lookups(const kith_index *index, const kith_index_info *info) {
    static float vector[KITH_DIM_MAX];
    kith_error error;
    const char *text;
    size_t bytes;
    uint64_t id;
    const uint64_t ids[] = {0, 1, info->rows / 2, info->rows - 1, info->rows, UINT64_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(*ids); i++) {
        (void)!kith_index_vector(index, ids[i], vector, &error);
        if (kith_index_name(index, ids[i], &text, &bytes) == KITH_OK) touch(text, bytes);
        if (kith_index_string_id(index, ids[i], &text, &bytes) == KITH_OK) {
            touch(text, bytes);
            (void)!kith_index_lookup(index, text, bytes, &id);
        }
    }
    (void)!kith_index_lookup(index, "", 0, &id);
}

static void try_searches(const kith_index *index, const kith_index_info *info) {
    static float query[2 * SEARCH_DIM_MAX]; /* for bits only the first bytes count */
    uint64_t ids[2 * K];
    float distances[2 * K];
    kith_error error;
    kith_scratch *scratch = NULL;
    kith_filter *filter = NULL;
    kith_ranges ranges;
    const uint64_t allowed[] = {0, 1, 2, 5, 77, info->rows - 1};
    for (size_t i = 0; i < 2 * SEARCH_DIM_MAX; i++) query[i] = (float)(i % 7) - 2.5f;
    kith_queries queries = KITH_QUERIES_INIT;
    queries.data = query;
    queries.dtype = info->dtype == KITH_B1 ? KITH_B1 : KITH_F32;
    queries.count = 2;
    queries.dim = info->dim;
    if (kith_scratch_create(index, NULL, &scratch, &error) != KITH_OK) return;
    (void)!kith_filter_create(index, allowed, sizeof(allowed) / sizeof(*allowed), NULL, &filter, &error);
    for (int plan = KITH_PLAN_AUTO; plan <= KITH_PLAN_GATHER; plan++)
        for (int filtered = 0; filtered < 2; filtered++) {
            kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
            options.plan = (kith_plan)plan;
            options.filter = filtered ? filter : NULL;
            options.timeout_ns = UINT64_C(1000000000);
            (void)!kith_search(index, &queries, K, &options, scratch, ids, distances, &error);
            (void)!kith_search_range(index, &queries, 1.0f, &options, scratch, &ranges, &error);
        }
    kith_filter_destroy(filter);
    kith_scratch_destroy(scratch);
}

static void try_index(const char *path) {
    kith_error error;
    kith_index *index = NULL;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    (void)!kith_index_verify(path, NULL, NULL, NULL, &error);
    if (kith_index_open(path, NULL, &index, &error) != KITH_OK) return;
    kith_index_get_info(index, &info);
    try_lookups(index, &info);
    if (info.dim <= SEARCH_DIM_MAX && info.rows <= SEARCH_ROWS_MAX) try_searches(index, &info);
    kith_index_close(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const char *path = file_of(data, bytes);
    try_segment(path);
    try_index(path);
    if (bytes < KI_FILE_BYTES_MIN) return 0;
    /* Aligned for the header's numbers, as a map is. */
    uint8_t *copy = aligned_alloc(KI_HEADER_BYTES, (bytes + KI_HEADER_BYTES - 1) / KI_HEADER_BYTES * KI_HEADER_BYTES);
    if (!copy) return 0;
    memcpy(copy, data, bytes);
    reseal(copy, bytes);
    path = file_of(copy, bytes);
    try_segment(path);
    try_index(path);
    free(copy);
    return 0;
}
