/* SPDX-License-Identifier: Apache-2.0
 *
 * .npy, versions 1 to 3:
 *
 *     0  six magic bytes
 *     6  major, minor
 *     8  the header's length: u16, from version 2 on u32
 *        then a Python dictionary such as {'descr': '<f4', 'fortran_order': False, 'shape': (60000, 784), }, padded
 *        with spaces
 *        then the data
 *
 * Only that dictionary is understood, with its three keys in any order. */
#include "io/npy.h"

#include "io/reader.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <stdio.h>
#include <string.h>

enum { HEADER_MAX = 1 << 16, WORD_MAX = 32, SHAPE_MAX = 8 };

typedef struct parser {
    const char *path, *at, *end, *begin;
    uint64_t begin_byte; /* where `begin` lies in the file */
    kith_error *error;
} parser;

typedef struct dictionary {
    bool has_descr, has_order, has_shape, fortran;
    char descr[WORD_MAX];
    unsigned dims;
    uint64_t shape[SHAPE_MAX];
} dictionary;

static kith_status expected(const parser *p, const char *what) {
    return ki_fail(p->error, KITH_E_FORMAT, "%s: byte %llu of the header: %s was expected", p->path,
                   (unsigned long long)(p->begin_byte + (uint64_t)(p->at - p->begin)), what);
}

static void skip_space(parser *p) {
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\n' || *p->at == '\r')) p->at++;
}

static bool take(parser *p, char c) {
    skip_space(p);
    if (p->at >= p->end || *p->at != c) return false;
    p->at++;
    return true;
}

static bool take_word(parser *p, const char *word) {
    const size_t bytes = strlen(word);
    skip_space(p);
    if ((size_t)(p->end - p->at) < bytes || memcmp(p->at, word, bytes) != 0) return false;
    p->at += bytes;
    return true;
}

/* A Python string without escapes, shorter than WORD_MAX. */
static kith_status parse_string(parser *p, char *text) {
    skip_space(p);
    const char quote = p->at < p->end ? *p->at : '\0';
    if (quote != '\'' && quote != '"') return expected(p, "a string in quotes");
    const char *begin = p->at + 1, *close = memchr(begin, quote, (size_t)(p->end - begin));
    if (!close || memchr(begin, '\\', (size_t)(close - begin)) || close - begin >= WORD_MAX)
        return expected(p, "a short string in quotes");
    memcpy(text, begin, (size_t)(close - begin));
    text[close - begin] = '\0';
    p->at = close + 1;
    return KITH_OK;
}

static kith_status parse_count(parser *p, uint64_t *count) {
    skip_space(p);
    const char *begin = p->at;
    *count = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++)
        if (!ki_mul(*count, 10, count) || !ki_add(*count, (uint64_t)(*p->at - '0'), count))
            return expected(p, "a count below 2^64");
    if (p->at == begin) return expected(p, "a count");
    if (p->at < p->end && *p->at == 'L') p->at++; /* Python 2 wrote long integers so */
    return KITH_OK;
}

static kith_status parse_shape(parser *p, dictionary *found) {
    if (!take(p, '(')) return expected(p, "a shape such as (1000, 128)");
    while (!take(p, ')')) {
        if (found->dims == SHAPE_MAX) return expected(p, "a shape of two dimensions");
        const kith_status status = parse_count(p, &found->shape[found->dims++]);
        if (status != KITH_OK) return status;
        if (take(p, ',')) continue;
        /* (5) is no tuple in Python, but nothing else can be meant. */
        if (!take(p, ')')) return expected(p, "',' or ')'");
        break;
    }
    return KITH_OK;
}

static kith_status parse_descr(parser *p, dictionary *found) {
    skip_space(p);
    if (p->at < p->end && *p->at == '[')
        return ki_fail(p->error, KITH_E_UNSUPPORTED, "%s: holds records; a plain array of numbers was expected",
                       p->path);
    return parse_string(p, found->descr);
}

static kith_status parse_entry(parser *p, dictionary *found) {
    char key[WORD_MAX];
    const kith_status status = parse_string(p, key);
    bool *seen = NULL;
    if (status != KITH_OK) return status;
    if (strcmp(key, "descr") == 0) seen = &found->has_descr;
    if (strcmp(key, "fortran_order") == 0) seen = &found->has_order;
    if (strcmp(key, "shape") == 0) seen = &found->has_shape;
    if (!seen || *seen) return expected(p, "each of descr, fortran_order and shape once, and no other key");
    *seen = true;
    if (!take(p, ':')) return expected(p, "':'");
    if (seen == &found->has_descr) return parse_descr(p, found);
    if (seen == &found->has_shape) return parse_shape(p, found);
    found->fortran = take_word(p, "True");
    return found->fortran || take_word(p, "False") ? KITH_OK : expected(p, "True or False");
}

static kith_status parse_dictionary(parser *p, dictionary *found) {
    if (!take(p, '{')) return expected(p, "'{'");
    while (!take(p, '}')) {
        const kith_status status = parse_entry(p, found);
        if (status != KITH_OK) return status;
        if (take(p, ',')) continue;
        if (!take(p, '}')) return expected(p, "',' or '}'");
        break;
    }
    skip_space(p);
    if (p->at != p->end) return expected(p, "nothing after the dictionary");
    if (!found->has_descr || !found->has_order || !found->has_shape)
        return expected(p, "each of descr, fortran_order and shape");
    return KITH_OK;
}

static kith_status element_of(const char *path, const char *descr, ki_element *element, kith_error *error) {
    const char *kind = strchr("<>|=", descr[0]) && descr[0] ? descr + 1 : descr;
    if (descr[0] == '>' && strlen(descr) == 3 && descr[2] != '1')
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: holds big-endian numbers (%s); save it with numpy's astype('<%s')", path, descr, kind);
    if (strcmp(kind, "V2") == 0)
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: holds 2-byte records ('%s'), as numpy saves bfloat16; save it with astype('float32') and "
                       "build with dtype bf16",
                       path, descr);
    if (strcmp(kind, "b1") == 0)
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: holds booleans; save numpy.packbits(x, axis=1) and read it as dtype b1", path);
    for (int i = 0; i < KI_ELEMENTS; i++) {
        if (strcmp(kind, ki_element_name((ki_element)i)) != 0) continue;
        *element = (ki_element)i;
        return KITH_OK;
    }
    return ki_fail(error, KITH_E_UNSUPPORTED,
                   "%s: has elements of type '%s'; f4, f2, f8, i1, i2, i4, i8, u1, u2, u4 or u8 were expected", path,
                   descr);
}

/* The length of the dictionary and where it begins. */
static kith_status read_frame(int fd, const char *path, uint64_t file_bytes, uint64_t *begin, uint64_t *length,
                              kith_error *error) {
    unsigned char frame[12] = {0};
    const size_t held = (size_t)ki_min_u64(sizeof(frame), file_bytes);
    const kith_status status = ki_read_at(fd, path, frame, held, 0, error);
    if (status != KITH_OK) return status;
    if (held < 10 || memcmp(frame, KI_NPY_MAGIC, 6) != 0)
        return ki_fail(error, KITH_E_FORMAT, "%s: does not begin as an .npy file", path);
    const unsigned major = frame[6], minor = frame[7];
    if (major < 1 || major > 3 || minor != 0)
        return ki_fail(error, KITH_E_UNSUPPORTED, "%s: is of .npy version %u.%u; 1.0, 2.0 or 3.0 was expected", path,
                       major, minor);
    *begin = major == 1 ? 10 : 12;
    *length = major == 1 ? ki_load_u16(frame + 8) : ki_load_u32(frame + 8);
    if (held < *begin || *length > file_bytes - *begin)
        return ki_fail(error, KITH_E_FORMAT, "%s: has %llu bytes, a header of %llu bytes was expected", path,
                       (unsigned long long)file_bytes, (unsigned long long)(*begin + *length));
    if (*length > HEADER_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: its header has %llu bytes, %d are the most", path,
                       (unsigned long long)*length, HEADER_MAX);
    return KITH_OK;
}

static void print_shape(const dictionary *found, char *text, size_t text_bytes) {
    size_t used = (size_t)snprintf(text, text_bytes, "(");
    for (unsigned i = 0; i < found->dims && used < text_bytes; i++)
        used += (size_t)snprintf(text + used, text_bytes - used, "%s%llu%s", i ? ", " : "",
                                 (unsigned long long)found->shape[i], found->dims == 1 ? "," : "");
    if (used < text_bytes) snprintf(text + used, text_bytes - used, ")");
}

static kith_status check_shape(const char *path, const dictionary *found, kith_error *error) {
    char text[SHAPE_MAX * 24];
    if (found->fortran)
        return ki_fail(error, KITH_E_UNSUPPORTED,
                       "%s: is in Fortran order (columns first); save numpy.ascontiguousarray(x)", path);
    if (found->dims == 1 || found->dims == 2) return KITH_OK;
    print_shape(found, text, sizeof(text));
    return ki_fail(error, KITH_E_UNSUPPORTED, "%s: has the shape %s; (rows, elements) was expected", path, text);
}

static kith_status check_size(const char *path, uint64_t file_bytes, const ki_npy_header *header, kith_error *error) {
    const uint64_t have = file_bytes - header->data_offset;
    uint64_t elements, bytes;
    if (ki_mul(header->shape[0], header->shape[1], &elements) &&
        ki_mul(elements, ki_element_bytes(header->element), &bytes) && bytes == have)
        return KITH_OK;
    return ki_fail(error, KITH_E_FORMAT,
                   "%s: has %llu bytes of data behind the header, but the shape (%llu, %llu) of %s was expected", path,
                   (unsigned long long)have, (unsigned long long)header->shape[0], (unsigned long long)header->shape[1],
                   ki_element_name(header->element));
}

kith_status ki_npy_read_header(int fd, const char *path, uint64_t file_bytes, ki_npy_header *header,
                               kith_error *error) {
    uint64_t begin = 0, length = 0;
    dictionary found = {0};
    kith_status status = read_frame(fd, path, file_bytes, &begin, &length, error);
    if (status != KITH_OK) return status;
    char *text = malloc(length + 1);
    if (!text) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    parser p = {.path = path, .at = text, .begin = text, .end = text + length, .begin_byte = begin, .error = error};
    status = ki_read_at(fd, path, text, length, begin, error);
    if (status == KITH_OK) status = parse_dictionary(&p, &found);
    if (status == KITH_OK) status = check_shape(path, &found, error);
    if (status == KITH_OK) status = element_of(path, found.descr, &header->element, error);
    free(text);
    if (status != KITH_OK) return status;
    header->dims = found.dims;
    header->shape[0] = found.shape[0];
    header->shape[1] = found.dims == 2 ? found.shape[1] : 1;
    header->data_offset = begin + length;
    return check_size(path, file_bytes, header, error);
}

static kith_status npy_open(kith_reader *reader, const kith_reader_options *options, kith_error *error) {
    ki_npy_header header;
    const kith_status status = ki_npy_read_header(reader->fd, reader->path, reader->file_bytes, &header, error);
    if (status != KITH_OK) return status;
    if (header.dims != 2)
        return ki_fail(error, KITH_E_FORMAT,
                       "%s: has the shape (%llu,); (rows, elements) was expected: for one vector save x.reshape(1, -1)",
                       reader->path, (unsigned long long)header.shape[0]);
    const ki_binary layout = {.offset = header.data_offset, .element = header.element};
    return ki_binary_open(reader, options, layout, header.shape[0], header.shape[1], error);
}

const ki_reader_format ki_reader_npy = {npy_open, ki_binary_read, ki_binary_close};
