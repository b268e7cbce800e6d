/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing .npy, the .vecs family and the .bin family. The layouts are drawn where they are read: npy.c, vecs.c,
 * bin.c. */
#include "io/writer.h"

#include "base/bytes.h"
#include "base/status.h"
#include "io/npy.h"
#include "io/reader.h"

#include <stdio.h>
#include <string.h>

enum { NPY_ALIGNMENT = 64 };

/* What a suffix holds and which dtypes may go there. */
typedef struct suffix {
    const char *text;
    ki_element element;
    unsigned dtypes; /* bits 1u << dtype */
    const char *words;
} suffix;

enum {
    F32 = 1u << KITH_F32,
    I8 = 1u << KITH_I8,
    U8 = 1u << KITH_U8,
    B1 = 1u << KITH_B1,
};

static const suffix vecs_suffixes[] = {
    {".fvecs", KI_ELEMENT_F4, F32, "f32"},
    {".bvecs", KI_ELEMENT_U1, U8 | B1, "u8 or b1"},
    {".ivecs", KI_ELEMENT_I4, F32 | I8 | U8, "whole numbers as f32, i8 or u8"},
};

static const suffix bin_suffixes[] = {
    {".fbin", KI_ELEMENT_F4, F32, "f32"},
    {".u8bin", KI_ELEMENT_U1, U8 | B1, "u8 or b1"},
    {".i8bin", KI_ELEMENT_I1, I8, "i8"},
    {".ibin", KI_ELEMENT_I4, F32 | I8 | U8, "whole numbers as f32, i8 or u8"},
};

static kith_status check_suffix(kith_writer *writer, const suffix *known, size_t count, kith_error *error) {
    for (size_t i = 0; i < count; i++) {
        if (!ki_suffix_is(writer->path, known[i].text)) continue;
        writer->element = known[i].element;
        if (known[i].dtypes >> writer->dtype & 1u) return KITH_OK;
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: %s files hold %s, not %s", writer->path, known[i].text,
                       known[i].words, kith_dtype_name(writer->dtype));
    }
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: the suffix must say what it holds, such as %s", writer->path,
                   known[0].text);
}

static kith_status vecs_check(kith_writer *writer, kith_error *error) {
    return check_suffix(writer, vecs_suffixes, sizeof(vecs_suffixes) / sizeof(*vecs_suffixes), error);
}

static kith_status vecs_begin(kith_writer *writer, kith_error *error) {
    (void)writer;
    (void)error;
    return KITH_OK;
}

static kith_status vecs_write(kith_writer *writer, const kith_rows *rows, size_t row, kith_error *error) {
    const uint32_t columns = (uint32_t)ki_writer_columns(writer);
    const kith_status status = ki_writer_put(writer, &columns, sizeof(columns), error);
    if (status != KITH_OK) return status;
    return ki_writer_put_elements(writer, (const unsigned char *)rows->data + row * writer->row_bytes, error);
}

static kith_status bin_check(kith_writer *writer, kith_error *error) {
    return check_suffix(writer, bin_suffixes, sizeof(bin_suffixes) / sizeof(*bin_suffixes), error);
}

static kith_status bin_begin(kith_writer *writer, kith_error *error) {
    const uint32_t header[2] = {(uint32_t)writer->rows, (uint32_t)ki_writer_columns(writer)};
    return ki_writer_put(writer, header, sizeof(header), error);
}

static kith_status plain_write(kith_writer *writer, const kith_rows *rows, size_t row, kith_error *error) {
    return ki_writer_put_elements(writer, (const unsigned char *)rows->data + row * writer->row_bytes, error);
}

static kith_status npy_check(kith_writer *writer, kith_error *error) {
    static const ki_element elements[] = {
        [KITH_F32] = KI_ELEMENT_F4, [KITH_F16] = KI_ELEMENT_F2, [KITH_BF16] = KI_ELEMENT_F4,
        [KITH_I8] = KI_ELEMENT_I1,  [KITH_U8] = KI_ELEMENT_U1,  [KITH_B1] = KI_ELEMENT_U1,
    };
    (void)error;
    writer->element = elements[writer->dtype];
    return KITH_OK;
}

size_t ki_npy_print_header(ki_element element, uint64_t rows, uint64_t columns, char header[KI_NPY_HEADER_MAX]) {
    const size_t frame = 10;
    const int text = snprintf(header + frame, KI_NPY_HEADER_MAX - frame,
                              "{'descr': '%s%s', 'fortran_order': False, 'shape': (%llu, %llu), }",
                              ki_element_bytes(element) > 1 ? "<" : "|", ki_element_name(element),
                              (unsigned long long)rows, (unsigned long long)columns);
    const size_t used = frame + (size_t)text, whole = (used + 1 + NPY_ALIGNMENT - 1) / NPY_ALIGNMENT * NPY_ALIGNMENT;
    const uint16_t length = (uint16_t)(whole - frame);
    memset(header + used, ' ', whole - used);
    header[whole - 1] = '\n';
    memcpy(header, KI_NPY_MAGIC "\x01\x00", 8);
    memcpy(header + 8, &length, sizeof(length));
    return whole;
}

static kith_status npy_begin(kith_writer *writer, kith_error *error) {
    char header[KI_NPY_HEADER_MAX];
    const size_t bytes = ki_npy_print_header(writer->element, writer->rows, ki_writer_columns(writer), header);
    return ki_writer_put(writer, header, bytes, error);
}

const ki_writer_format ki_writer_vecs = {vecs_check, vecs_begin, vecs_write};
const ki_writer_format ki_writer_bin = {bin_check, bin_begin, plain_write};
const ki_writer_format ki_writer_npy = {npy_check, npy_begin, plain_write};
