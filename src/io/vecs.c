/* SPDX-License-Identifier: Apache-2.0
 *
 * .fvecs, .bvecs, .ivecs: every row is an i32 count of elements and then the elements, f4, u1 or i4. There is no
 * header: the first row's count is taken for all, and checked against the file's size now and against each row when it
 * is read. */
#include "io/reader.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/status.h"

static kith_status element_of(const char *path, ki_element *element, kith_error *error) {
    if (ki_suffix_is(path, ".fvecs"))
        *element = KI_ELEMENT_F4;
    else if (ki_suffix_is(path, ".bvecs"))
        *element = KI_ELEMENT_U1;
    else if (ki_suffix_is(path, ".ivecs"))
        *element = KI_ELEMENT_I4;
    else
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: the suffix must say what it holds: .fvecs, .bvecs or .ivecs",
                       path);
    return KITH_OK;
}

static kith_status vecs_open(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    ki_binary layout = {.prefix_bytes = 4};
    unsigned char first[4];
    kith_status status = element_of(reader->path, &layout.element, error);
    if (status != KITH_OK) return status;
    if (reader->file_bytes < sizeof(first))
        return ki_fail(error, KITH_E_FORMAT, "%s: has %llu bytes, a row of vectors was expected", reader->path,
                       (unsigned long long)reader->file_bytes);
    status = ki_read_at(reader->fd, reader->path, first, sizeof(first), 0, error);
    if (status != KITH_OK) return status;
    const int32_t columns = (int32_t)ki_load_u32(first);
    if (columns <= 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: row 0 (byte 0) has %ld elements, 1 to %u were expected", reader->path,
                       (long)columns, KITH_DIM_MAX);
    if ((uint32_t)columns > KITH_DIM_MAX) /* before it becomes a stride */
        return ki_fail(error, KITH_E_LIMIT, "%s: row 0 (byte 0) has %ld elements, %u are the most", reader->path,
                       (long)columns, KITH_DIM_MAX);
    const uint64_t stride = 4 + (uint64_t)columns * ki_element_bytes(layout.element);
    if (reader->file_bytes % stride)
        return ki_fail(error, KITH_E_FORMAT,
                       "%s: has %llu bytes, which is no multiple of %llu, the size of a row of %ld elements",
                       reader->path, (unsigned long long)reader->file_bytes, (unsigned long long)stride, (long)columns);
    return ki_binary_open(reader, options, layout, reader->file_bytes / stride, (uint64_t)columns, error);
}

const ki_reader_format ki_reader_vecs = {vecs_open, ki_binary_read, ki_binary_close};
