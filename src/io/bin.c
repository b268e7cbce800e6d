/* SPDX-License-Identifier: Apache-2.0
 *
 * .fbin, .u8bin, .i8bin, .ibin: u32 rows, u32 columns, then the rows as f4, u1, i1 or i4. */
#include "io/reader.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/status.h"

enum { HEADER_BYTES = 8 };

static kith_status element_of(const char *path, ki_element *element, kith_error *error) {
    if (ki_suffix_is(path, ".fbin"))
        *element = KI_ELEMENT_F4;
    else if (ki_suffix_is(path, ".u8bin"))
        *element = KI_ELEMENT_U1;
    else if (ki_suffix_is(path, ".i8bin"))
        *element = KI_ELEMENT_I1;
    else if (ki_suffix_is(path, ".ibin"))
        *element = KI_ELEMENT_I4;
    else
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: the suffix must say what it holds: .fbin, .u8bin, .i8bin or .ibin", path);
    return KITH_OK;
}

static kith_status bin_open(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    ki_binary layout = {.offset = HEADER_BYTES};
    unsigned char header[HEADER_BYTES];
    kith_status status = element_of(reader->path, &layout.element, error);
    if (status != KITH_OK) return status;
    if (reader->file_bytes < HEADER_BYTES)
        return ki_fail(error, KITH_E_FORMAT, "%s: has %llu bytes, a header of %d bytes was expected", reader->path,
                       (unsigned long long)reader->file_bytes, HEADER_BYTES);
    status = ki_read_at(reader->fd, reader->path, header, HEADER_BYTES, 0, error);
    if (status != KITH_OK) return status;
    return ki_binary_open(reader, options, layout, ki_load_u32(header), ki_load_u32(header + 4), error);
}

const ki_reader_format ki_reader_bin = {bin_open, ki_binary_read, ki_binary_close};
