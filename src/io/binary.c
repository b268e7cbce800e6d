/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of one size behind a header. Rows that are delivered as they lie are read by one large pread straight into the
 * reader's buffer; the others pass through a staging buffer that stays in the cache. */
#include "io/reader.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <string.h>

enum { STAGING_BYTES = 256 << 10 };

/* Packed bits are bytes in the file. */
static kith_status check_bits(const kith_reader *reader, const kith_reader_options *options, ki_element element,
                              kith_error *error) {
    if (options->dtype != KITH_B1 || element == KI_ELEMENT_U1) return KITH_OK;
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: has elements of type %s; packed bits (b1) are read from u1 bytes",
                   reader->path, ki_element_name(element));
}

kith_status ki_binary_open(kith_reader *reader, const kith_reader_options *options, ki_binary layout, uint64_t rows,
                           uint64_t columns, kith_error *error) {
    uint64_t bytes;
    const size_t element_bytes = ki_element_bytes(layout.element);
    kith_status status = check_bits(reader, options, layout.element, error);
    if (status == KITH_OK)
        status = ki_reader_set_shape(reader, rows, columns, ki_element_dtype(layout.element), options->dtype == KITH_B1,
                                     error);
    if (status != KITH_OK) return status;
    layout.columns = (size_t)columns;
    layout.stride = layout.prefix_bytes + layout.columns * element_bytes;
    if (!ki_mul(rows, layout.stride, &bytes) || !ki_add(bytes, layout.offset, &bytes) || bytes != reader->file_bytes)
        return ki_fail(error, KITH_E_FORMAT,
                       "%s: has %llu bytes, but a header of %llu bytes and %llu rows of %zu bytes were expected",
                       reader->path, (unsigned long long)reader->file_bytes, (unsigned long long)layout.offset,
                       (unsigned long long)rows, layout.stride);
    ki_binary *state = malloc(sizeof(*state));
    if (!state) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
    *state = layout;
    state->staging = NULL;
    reader->state = state;
    return KITH_OK;
}

static kith_status check_prefix(const kith_reader *reader, const ki_binary *layout, const unsigned char *from,
                                uint64_t row, kith_error *error) {
    const uint32_t columns = ki_load_u32(from);
    if (columns == layout->columns) return KITH_OK;
    return ki_fail(error, KITH_E_FORMAT, "%s: row %llu (byte %llu) has %ld elements, but row 0 has %zu", reader->path,
                   (unsigned long long)row, (unsigned long long)(layout->offset + row * layout->stride),
                   (long)(int32_t)columns, layout->columns);
}

static kith_status inexact(const kith_reader *reader, const ki_binary *layout, const unsigned char *row_data,
                           uint64_t row, size_t column, kith_error *error) {
    char value[64];
    ki_element_print(layout->element, row_data + column * ki_element_bytes(layout->element), value, sizeof(value));
    if (reader->round)
        return ki_fail(error, KITH_E_DATA, "%s: row %llu, column %zu: %s is beyond 32-bit floats", reader->path,
                       (unsigned long long)row, column, value);
    return ki_fail(error, KITH_E_DATA,
                   "%s: row %llu, column %zu: %s is not exact as a 32-bit float; to have it rounded, set the reader's "
                   "option round (in the command: --round), or save with numpy's astype('float32')",
                   reader->path, (unsigned long long)row, column, value);
}

/* One staged row to where it is delivered. */
static kith_status deliver(const kith_reader *reader, const ki_binary *layout, const unsigned char *from, uint64_t row,
                           unsigned char *to, kith_error *error) {
    if (layout->prefix_bytes) {
        const kith_status status = check_prefix(reader, layout, from, row, error);
        if (status != KITH_OK) return status;
        from += layout->prefix_bytes;
    }
    if (layout->element <= KI_ELEMENT_U1) {
        memcpy(to, from, reader->row_bytes);
        return KITH_OK;
    }
    const size_t good = ki_element_narrow(layout->element, from, layout->columns, reader->round, (float *)(void *)to);
    return good == layout->columns ? KITH_OK : inexact(reader, layout, from, row, good, error);
}

kith_status ki_binary_read(kith_reader *reader, uint64_t row, size_t count, kith_error *error) {
    ki_binary *layout = reader->state;
    const uint64_t offset = layout->offset + row * layout->stride;
    if (layout->prefix_bytes == 0 && layout->element <= KI_ELEMENT_U1)
        return ki_read_at(reader->fd, reader->path, reader->data, count * layout->stride, offset, error);
    const size_t batch = layout->stride < STAGING_BYTES ? STAGING_BYTES / layout->stride : 1;
    if (!layout->staging) layout->staging = ki_alloc_array(batch, layout->stride);
    if (!layout->staging) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", reader->path);
    for (size_t done = 0; done < count;) {
        const size_t step = ki_min_size(batch, count - done);
        kith_status status = ki_read_at(reader->fd, reader->path, layout->staging, step * layout->stride,
                                        offset + done * layout->stride, error);
        for (size_t i = 0; i < step && status == KITH_OK; i++)
            status = deliver(reader, layout, layout->staging + i * layout->stride, row + done + i,
                             reader->data + (done + i) * reader->row_bytes, error);
        if (status != KITH_OK) return status;
        done += step;
    }
    return KITH_OK;
}

void ki_binary_close(kith_reader *reader) {
    ki_binary *layout = reader->state;
    if (layout) free(layout->staging);
    free(layout);
}
