/* SPDX-License-Identifier: Apache-2.0
 *
 * Index files of version 1, which the library reads and no longer writes: each part was a section, and the table of
 * sections lay in the header. Include after cmocka.h and segment_file.h. */
#ifndef KI_TESTS_VERSION1_H
#define KI_TESTS_VERSION1_H

#include "support/segment_file.h"

#include <math.h>

typedef struct version1_section {
    uint32_t kind;
    const void *data;
    uint64_t bytes, count;
} version1_section;

static inline uint64_t version1_round(uint64_t bytes, uint64_t step) {
    return (bytes + step - 1) / step * step;
}

static inline void version1_header(const ki_segment_head *head, ki_header *header) {
    memcpy(header->magic, KI_MAGIC, KI_MAGIC_BYTES);
    header->format_version = 1;
    header->header_bytes = KI_HEADER_BYTES;
    header->feature_compat = head->feature_compat;
    header->feature_incompat = head->feature_incompat;
    header->rows = head->rows;
    header->dim = head->dim;
    header->dtype = head->dtype;
    header->metric = head->metric;
    header->id_kind = head->id_kind;
    header->lists = head->lists;
    header->level1_dim = head->level1_dim;
    header->flags = head->flags;
    header->block_bytes = 65536;
    header->section_entry_bytes = 64;
    header->code_error = head->code_error;
    header->level1_error = head->level1_error;
    memcpy(header->parameter, head->parameter, sizeof(header->parameter));
}

static inline void version1_write(const char *path, const ki_segment_head *head, const version1_section *section,
                                  size_t sections) {
    uint64_t end = KI_HEADER_BYTES, blocks = 0;
    for (size_t i = 0; i < sections; i++) {
        const uint64_t padded = version1_round(section[i].bytes, 4096);
        end += padded;
        blocks += (padded + 65535) / 65536;
    }
    const uint64_t table = end, bytes = table + (blocks ? version1_round(8 * blocks, 4096) : 4096) + KI_HEADER_BYTES;
    test_bytes file = {calloc(1, bytes), bytes};
    assert_non_null(file.data);
    ki_header *header = test_header_a(file);
    version1_header(head, header);
    header->file_bytes = bytes;
    header->section_count = (uint32_t)sections;
    header->block_table_offset = table;
    header->block_count = blocks;
    end = KI_HEADER_BYTES;
    for (size_t i = 0; i < sections; i++) {
        const ki_section_entry_version1 entry = {section[i].kind, 0, end, section[i].bytes, section[i].count, {0}};
        memcpy(file.data + KI_SECTION_TABLE_VERSION1 + i * sizeof(entry), &entry, sizeof(entry));
        if (section[i].bytes) memcpy(file.data + end, section[i].data, section[i].bytes);
        end += version1_round(section[i].bytes, 4096);
    }
    test_reseal(file);
    test_write(path, file.data, file.bytes);
    free(file.data);
}

/* As test_make(): section i is of kind i + 1. */
static inline void version1_make(const char *path, const uint64_t *bytes, size_t sections) {
    version1_section section[KI_SECTIONS_MAX_VERSION1];
    const ki_segment_head head = test_head();
    for (size_t i = 0; i < sections; i++) {
        unsigned char *data = malloc(bytes[i] + 1);
        assert_non_null(data);
        test_fill(data, bytes[i], i);
        section[i] = (version1_section){(uint32_t)i + 1, data, bytes[i], bytes[i] / 4};
    }
    version1_write(path, &head, section, sections);
    for (size_t i = 0; i < sections; i++) free((void *)(uintptr_t)section[i].data);
}

/* What version 1 had in place of squared norms, as its section 9. */
static inline float *version1_inverse_norms(const ki_segment *segment, version1_section *section, size_t *sections) {
    const ki_part_view norms2 = ki_segment_part(segment, KI_PART_NORMS2);
    if (!norms2.data) return NULL;
    float *inverse = malloc(norms2.bytes + 1);
    assert_non_null(inverse);
    for (size_t i = 0; i < norms2.count; i++) inverse[i] = 1 / sqrtf(((const float *)norms2.data)[i]);
    section[(*sections)++] = (version1_section){9, inverse, norms2.bytes, norms2.count};
    return inverse;
}

/* The file `from` as version 1 would have had it; both may be the same. */
static inline void version1_convert(const char *from, const char *to) {
    version1_section section[KI_SECTIONS_MAX_VERSION1];
    size_t sections = 0;
    ki_segment *segment = NULL;
    float *inverse = NULL;
    assert_int_equal(ki_segment_open(from, NULL, &segment, NULL), KITH_OK);
    for (uint32_t kind = 1; kind <= KI_SECTIONS_MAX_VERSION1; kind++) {
        const uint32_t id = ki_part_of_version1(kind);
        const ki_part_view part = ki_segment_part(segment, id);
        if (id && part.data) section[sections++] = (version1_section){kind, part.data, part.bytes, part.count};
        if (id == KI_PART_INVERSE_NORMS && !part.data) inverse = version1_inverse_norms(segment, section, &sections);
    }
    char *fresh = malloc(strlen(to) + 8);
    assert_non_null(fresh);
    snprintf(fresh, strlen(to) + 8, "%s.fresh", to);
    version1_write(fresh, ki_segment_get_head(segment), section, sections);
    ki_segment_close(segment);
    free(inverse);
    assert_int_equal(rename(fresh, to), 0);
    free(fresh);
}

#endif
