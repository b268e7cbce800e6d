/* SPDX-License-Identifier: Apache-2.0
 *
 * The index reader against hostile bytes. Each input is tried twice: as it is, and with all hashes made right again, so
 * that the checks behind the checksums are reached. fuzz_edits.c starts from good files of every kind instead. */
#define _GNU_SOURCE
#include "fuzz_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void try_segment(const char *path) {
    kith_error error;
    ki_segment *segment = NULL;
    if (ki_segment_open(path, NULL, &segment, &error) != KITH_OK) {
        if (!memchr(error.text, 0, sizeof(error.text))) abort();
        return;
    }
    (void)ki_segment_verify(segment, NULL, NULL, NULL, &error);
    for (uint32_t family = 0; family <= KI_FAMILY_LSH + 1; family++)
        for (uint32_t number = 0; number < 10; number++) {
            const ki_part_view section = ki_segment_part(segment, KI_PART(family, number));
            if (section.data) fuzz_touch(section.data, section.bytes + KI_SECTION_ALIGN);
        }
    for (size_t i = 0; i < ki_segment_parts(segment); i++) {
        const kith_section_info part = ki_segment_part_info(segment, i);
        fuzz_touch(part.name, strlen(part.name));
    }
    ki_segment_close(segment);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    const char *path = fuzz_file(data, bytes);
    const unsigned salt = (unsigned)XXH3_64bits(data, bytes);
    try_segment(path);
    fuzz_try_index(path, salt);
    if (bytes < KI_FILE_BYTES_MIN) return 0;
    /* Aligned for the header's numbers, as a map is. */
    uint8_t *copy = aligned_alloc(KI_HEADER_BYTES, (bytes + KI_HEADER_BYTES - 1) / KI_HEADER_BYTES * KI_HEADER_BYTES);
    if (!copy) return 0;
    memcpy(copy, data, bytes);
    fuzz_reseal(copy, bytes);
    path = fuzz_file(copy, bytes);
    try_segment(path);
    fuzz_try_index(path, salt);
    free(copy);
    return 0;
}
