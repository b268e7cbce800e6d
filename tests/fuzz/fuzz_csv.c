/* SPDX-License-Identifier: Apache-2.0
 *
 * Hostile .csv files: with columns found by themselves, with columns asked for, with bad rows left out, and as
 * names. */
#define _GNU_SOURCE
#include "fuzz_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const kith_reader_options columns = {.struct_size = sizeof(columns), .id_column = "1", .name_column = "b"};
    char names_path[300];
    fuzz_put(data, size);
    snprintf(names_path, sizeof(names_path), "%s", fuzz_path(".names"));
    fuzz_read(".csv", NULL);
    fuzz_read(".csv", &columns);
    const kith_reader_options names = {.struct_size = sizeof(names), .names_path = names_path};
    fuzz_read(".csv", &names);
    const kith_reader_options skip = {
        .struct_size = sizeof(skip), .header = KITH_HEADER_NO, .vector_key = "2", .skip_bad = 1, .skip_zero = 1};
    fuzz_read(".csv", &skip);
    const kith_reader_options header = {.struct_size = sizeof(header), .header = KITH_HEADER_YES, .skip_bad = 1};
    fuzz_read(".csv", &header);
    return 0;
}
