/* SPDX-License-Identifier: Apache-2.0
 *
 * The portable form (github.com/RoaringBitmap/RoaringFormatSpec), without runs: a cookie, the number of containers, for
 * each its key and its size less 1 as u16, for each the place of its data as u32; then the data: u16 each for up to
 * 4,096 rows, otherwise 8,192 bytes of bits. */
#include "table/rows.h"

#include "base/bytes.h"
#include "base/checked.h"

enum { COOKIE = 12346, CONTAINER_WORDS = 1024, CONTAINER_BYTES = 8192, ARRAY_MAX = 4096 };
/* A gather's list is worth its sorting below one row in so many: clearing and reading bits costs some 0.5 ns for 64
 * rows, sorting some 30 ns a row. */
enum { FEW = 4096 };

/* A portable form on the way. */
typedef struct form {
    unsigned char *bytes;
    uint64_t size, at; /* at: where the next data lies */
    uint32_t containers, written;
} form;

static uint64_t data_bytes(uint64_t rows) {
    return rows <= ARRAY_MAX ? rows * sizeof(uint16_t) : CONTAINER_BYTES;
}

static bool begin(form *f, uint32_t containers, uint64_t bytes) {
    f->containers = containers;
    f->written = 0;
    f->at = 8 + 8 * (uint64_t)containers;
    f->size = f->at + bytes;
    f->bytes = ki_alloc_array(f->size, 1);
    if (!f->bytes) return false;
    ki_store_u32(f->bytes, COOKIE);
    ki_store_u32(f->bytes + 4, containers);
    return true;
}

/* Describe the next container; its data. */
static unsigned char *next(form *f, uint32_t key, uint64_t rows) {
    unsigned char *data = f->bytes + f->at;
    ki_store_u32(f->bytes + 8 + 4 * (size_t)f->written, key | (uint32_t)(rows - 1) << 16);
    ki_store_u32(f->bytes + 8 + 4 * (size_t)f->containers + 4 * (size_t)f->written, (uint32_t)f->at);
    f->written++;
    f->at += data_bytes(rows);
    return data;
}

static roaring_bitmap_t *finish(form *f) {
    roaring_bitmap_t *rows = roaring_bitmap_portable_deserialize_safe((const char *)f->bytes, (size_t)f->size);
    free(f->bytes);
    return rows;
}

bool ki_rows_ascend(const uint32_t *row, uint64_t count, uint64_t rows) {
    if (count && row[count - 1] >= rows) return false;
    for (uint64_t i = 1; i < count; i++)
        if (row[i - 1] >= row[i]) return false;
    return true;
}

/* Where the rows of a container end. */
static uint64_t container_end(const uint32_t *row, uint64_t first, uint64_t count) {
    uint64_t end = first + 1;
    while (end < count && row[end] >> 16 == row[first] >> 16) end++;
    return end;
}

roaring_bitmap_t *ki_rows_of_sorted(const uint32_t *row, uint64_t count) {
    uint32_t containers = 0;
    uint64_t bytes = 0;
    form f;
    for (uint64_t first = 0, end; first < count; first = end, containers++) {
        end = container_end(row, first, count);
        bytes += data_bytes(end - first);
    }
    if (!containers) return roaring_bitmap_create();
    if (!begin(&f, containers, bytes)) return NULL;
    for (uint64_t first = 0, end; first < count; first = end) {
        end = container_end(row, first, count);
        unsigned char *data = next(&f, row[first] >> 16, end - first);
        if (end - first <= ARRAY_MAX) {
            for (uint64_t i = first; i < end; i++, data += 2) memcpy(data, &(uint16_t){(uint16_t)row[i]}, 2);
            continue;
        }
        memset(data, 0, CONTAINER_BYTES);
        for (uint64_t i = first; i < end; i++) data[(row[i] & 0xffff) / 8] |= (unsigned char)(1u << row[i] % 8);
    }
    return finish(&f);
}

/* Word `number` of the bits, without those beyond the rows. */
static uint64_t word_at(const uint64_t *bits, uint64_t number, uint64_t rows) {
    const uint64_t word = bits[number], left = rows - 64 * number;
    return left >= 64 ? word : word & ((UINT64_C(1) << left) - 1);
}

static uint64_t count_rows(const uint64_t *bits, uint64_t first, uint64_t end, uint64_t rows) {
    uint64_t count = 0;
    for (uint64_t i = first; i < end; i++) count += (uint64_t)__builtin_popcountll(word_at(bits, i, rows));
    return count;
}

static void write_container(unsigned char *data, const uint64_t *bits, uint64_t first, uint64_t end, uint64_t rows,
                            uint64_t count) {
    if (count > ARRAY_MAX) {
        memset(data, 0, CONTAINER_BYTES);
        for (uint64_t i = first; i < end; i++) ki_store_u64(data + 8 * (i - first), word_at(bits, i, rows));
        return;
    }
    for (uint64_t i = first; i < end; i++)
        for (uint64_t word = word_at(bits, i, rows); word; word &= word - 1, data += 2) {
            const uint16_t low = (uint16_t)(64 * (i - first) + (uint64_t)__builtin_ctzll(word));
            memcpy(data, &low, sizeof(low));
        }
}

roaring_bitmap_t *ki_rows_of_bits(const uint64_t *bits, uint64_t rows) {
    const uint64_t words = rows / 64 + (rows % 64 != 0), most = words / CONTAINER_WORDS + 1;
    uint32_t containers = 0, *count = ki_alloc_array(most, sizeof(*count));
    uint64_t bytes = 0;
    form f;
    if (!count) return NULL;
    for (uint64_t first = 0, i = 0; first < words; first += CONTAINER_WORDS, i++) {
        const uint64_t found = count_rows(bits, first, ki_min_u64(first + CONTAINER_WORDS, words), rows);
        count[i] = (uint32_t)found;
        containers += found != 0;
        bytes += data_bytes(found);
    }
    const bool ready = containers && begin(&f, containers, bytes);
    for (uint64_t first = 0, i = 0; ready && first < words; first += CONTAINER_WORDS, i++) {
        const uint64_t end = ki_min_u64(first + CONTAINER_WORDS, words);
        if (count[i]) write_container(next(&f, (uint32_t)i, count[i]), bits, first, end, rows, count[i]);
    }
    free(count);
    return ready ? finish(&f) : containers ? NULL : roaring_bitmap_create();
}

/* ---- Gathering --------------------------------------------------------------------------------------------------- */

bool ki_gather_begin(ki_gather *gather, uint64_t rows, uint64_t most) {
    *gather = (ki_gather){.rows = rows};
    if (most < rows / FEW) {
        gather->room = (size_t)most;
        gather->few = ki_alloc_array(most, sizeof(uint32_t));
        return gather->few != NULL;
    }
    return (gather->bits = ki_alloc_array_zeroed(rows / 64 + 1, sizeof(uint64_t))) != NULL;
}

void ki_gather_drop(ki_gather *gather) {
    free(gather->bits);
    free(gather->few);
    *gather = (ki_gather){0};
}

static int compare_rows(const void *a, const void *b) {
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

roaring_bitmap_t *ki_gather_end(ki_gather *gather) {
    roaring_bitmap_t *rows;
    if (gather->bits)
        rows = ki_rows_of_bits(gather->bits, gather->rows);
    else {
        size_t distinct = 0;
        if (gather->count) qsort(gather->few, gather->count, sizeof(uint32_t), compare_rows);
        for (size_t i = 0; i < gather->count; i++)
            if (!distinct || gather->few[distinct - 1] != gather->few[i]) gather->few[distinct++] = gather->few[i];
        rows = ki_rows_of_sorted(gather->few, distinct);
    }
    ki_gather_drop(gather);
    return rows;
}
