/* SPDX-License-Identifier: Apache-2.0
 *
 * From the rows' ids and payloads to the file `items` of a load. Payloads are copied, and looked at later in the order
 * of keys (build.c); of a file with a line each only the lines are found here. */
#define _GNU_SOURCE
#include "load/load.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "base/utf8.h"
#include "io/input.h"
#include "io/lines.h"
#include "store/map.h"
#include "write/commit.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

enum { ROWS = 4096, BUFFER_BYTES = 1 << 20 };
static const char STAGE[] = "reading items";

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a load");
}

/* ---- A file that is written from its beginning to its end --------------------------------------------------------- */

struct out {
    ki_outfile file;
    unsigned char *buffer;
    size_t filled;
    uint64_t bytes; /* written, those of the buffer not counted */
    XXH3_state_t *hash;
};

static kith_status out_flush(struct out *out, kith_error *error) {
    XXH3_64bits_update(out->hash, out->buffer, out->filled);
    const kith_status status = ki_outfile_write_at(&out->file, out->buffer, out->filled, out->bytes, error);
    out->bytes += out->filled;
    out->filled = 0;
    return status;
}

static kith_status out_add(struct out *out, const void *data, uint64_t bytes, kith_error *error) {
    const unsigned char *from = data;
    kith_status status = KITH_OK;
    while (bytes && status == KITH_OK) {
        const size_t part = (size_t)ki_min_u64(bytes, BUFFER_BYTES - out->filled);
        memcpy(out->buffer + out->filled, from, part);
        out->filled += part;
        from += part;
        bytes -= part;
        if (out->filled == BUFFER_BYTES) status = out_flush(out, error);
    }
    return status;
}

static kith_status out_open(const char *path, struct out *out, kith_error *error) {
    *out = (struct out){.file = KI_OUTFILE_NONE, .hash = XXH3_createState()};
    out->buffer = ki_alloc_array(BUFFER_BYTES, 1);
    if (!out->hash || !out->buffer) return no_memory(error);
    XXH3_64bits_reset(out->hash);
    return ki_outfile_create(path, &out->file, error);
}

static void out_close(struct out *out) {
    ki_outfile_discard(&out->file);
    free(out->buffer);
    XXH3_freeState(out->hash);
}

/* ---- Payloads ---------------------------------------------------------------------------------------------------- */

/* Where the payloads of a load come from, and go to. */
struct payloads {
    ki_load *load;
    struct out *out;
    uint64_t *end; /* by row */
};

static kith_status add_payload(struct payloads *p, uint64_t row, const char *data, uint64_t bytes, kith_error *error) {
    char text[KI_LOAD_ROW_TEXT];
    if (bytes > KITH_PAYLOAD_MAX)
        return ki_fail(error, KITH_E_LIMIT, "%s: its payload is of %llu bytes: at most %u are possible",
                       ki_load_row_text(p->load, row, text), (unsigned long long)bytes, KITH_PAYLOAD_MAX);
    p->end[row] = (row ? p->end[row - 1] : 0) + bytes;
    return bytes ? out_add(p->out, data, bytes, error) : KITH_OK;
}

static kith_status wrong_count(const struct payloads *p, uint64_t lines, kith_error *error) {
    return ki_fail(error, KITH_E_FORMAT, "%s: has %s%llu lines, and %s has %llu rows", p->load->options.payloads_path,
                   lines > p->load->rows ? "more than " : "", (unsigned long long)ki_min_u64(lines, p->load->rows),
                   kith_reader_path(p->load->source[0].reader), (unsigned long long)p->load->rows);
}

static kith_status add_lines(struct payloads *p, ki_lines *lines, kith_error *error) {
    kith_status status = KITH_OK;
    char *text = NULL;
    size_t bytes = 0;
    for (uint64_t row = 0; row < p->load->rows && status == KITH_OK; row++) {
        status = ki_lines_next(lines, &text, &bytes, error);
        if (status == KITH_OK && !text) return wrong_count(p, row, error);
        if (status == KITH_OK) status = add_payload(p, row, text, bytes, error);
        if (status == KITH_OK && row % ROWS == 0) status = ki_load_tell(p->load, STAGE, row, error);
    }
    if (status == KITH_OK) status = ki_lines_next_filled(lines, &text, &bytes, error);
    return status == KITH_OK && text ? wrong_count(p, p->load->rows + 1, error) : status;
}

static kith_status add_file(struct payloads *p, kith_error *error) {
    const char *path = p->load->options.payloads_path;
    ki_lines lines = KI_LINES_NONE;
    int fd = -1;
    uint64_t bytes = 0;
    kith_status status = ki_input_open(path, true, &fd, &bytes, error);
    if (status != KITH_OK) return status;
    ki_lines_open(&lines, path, fd, bytes);
    status = add_lines(p, &lines, error);
    ki_lines_close(&lines);
    close(fd);
    return status;
}

static kith_status add_given(struct payloads *p, uint64_t first, size_t count, const kith_payloads *given,
                             kith_error *error) {
    kith_status status = KITH_OK;
    uint64_t begin = 0;
    if (!given->ends) return ki_fail(error, KITH_E_ARG, "the function of payloads gave none: where do they end?");
    for (size_t i = 0; i < count && status == KITH_OK; begin = given->ends[i], i++) {
        const uint64_t end = given->ends[i];
        if (end < begin || (end > begin && !given->bytes))
            return ki_fail(error, KITH_E_ARG, "the payload of row %llu ends before it begins",
                           (unsigned long long)(first + i));
        status = add_payload(p, first + i, end > begin ? given->bytes + begin : NULL, end - begin, error);
    }
    return status;
}

static kith_status add_all(struct payloads *p, kith_error *error) {
    const ki_load *load = p->load;
    kith_status status = KITH_OK;
    for (uint64_t row = 0; row < load->rows && status == KITH_OK;) {
        const size_t count = (size_t)ki_min_u64(ROWS, load->rows - row);
        kith_payloads given = {0};
        status = load->options.payloads(load->options.payloads_context, row, count, &given, error);
        if (status == KITH_OK) status = add_given(p, row, count, &given, error);
        row += count;
        if (status == KITH_OK) status = ki_load_tell(load, STAGE, row, error);
    }
    return status;
}

static kith_status add_payloads(ki_load *load, struct out *out, kith_error *error) {
    static const unsigned char zeros[8];
    struct payloads p = {load, out, NULL};
    if (!load->has_payloads) return KITH_OK;
    p.end = ki_alloc_array(load->rows, sizeof(*p.end));
    if (!p.end) return no_memory(error);
    kith_status status = load->options.payloads ? add_all(&p, error) : add_file(&p, error);
    if (status == KITH_OK) {
        load->payload_bytes = p.end[load->rows - 1];
        status = out_add(out, zeros, ki_round_up(load->payload_bytes, 8) - load->payload_bytes, error);
    }
    if (status == KITH_OK) status = out_add(out, p.end, load->rows * sizeof(*p.end), error);
    free(p.end);
    return status;
}

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

struct texts {
    char *bytes;
    size_t used, room;
};

static kith_status add_text(ki_load *load, uint64_t row, const char *from, size_t bytes, struct texts *texts,
                            kith_error *error) {
    const char *path = kith_reader_path(load->source[0].reader);
    if (!bytes || bytes > KITH_STRING_MAX || !ki_utf8_valid(from, bytes))
        return ki_fail(error, bytes > KITH_STRING_MAX ? KITH_E_LIMIT : KITH_E_DATA,
                       "%s: row %llu: its id is no UTF-8 without NUL of 1 to %u bytes", path, (unsigned long long)row,
                       KITH_STRING_MAX);
    void *grown = texts->bytes;
    if (!ki_array_reserve(&grown, &texts->room, texts->used + bytes, 1)) return no_memory(error);
    texts->bytes = load->text = grown;
    memcpy(texts->bytes + texts->used, from, bytes);
    texts->used += bytes;
    load->text_end[row] = texts->used;
    return KITH_OK;
}

static kith_status take_ids(ki_load *load, const kith_rows *rows, uint64_t first, uint64_t *key, struct texts *texts,
                            kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t i = 0; i < rows->count && status == KITH_OK; i++) {
        const uint32_t begin = rows->id_ends && i ? rows->id_ends[i - 1] : 0;
        if (rows->id_ends)
            status = add_text(load, first + i, rows->id_bytes + begin, rows->id_ends[i] - begin, texts, error);
        else if (rows->ids[i] == KITH_ID_NONE)
            status = ki_fail(error, KITH_E_DATA, "%s: row %llu: 2^64-1 is reserved, and no id",
                             kith_reader_path(load->source[0].reader), (unsigned long long)(first + i));
        else
            key[first + i] = rows->ids[i];
    }
    return status;
}

/* The ids of all rows, as numbers in `key` or as texts. */
static kith_status read_ids(ki_load *load, uint64_t *key, kith_error *error) {
    kith_reader *reader = load->source[0].reader;
    struct texts texts = {0};
    if (load->source[0].info.id_kind == KITH_ID_ROW) {
        for (uint64_t row = 0; row < load->rows; row++) key[row] = row;
        return KITH_OK;
    }
    const int strings = load->source[0].info.id_kind == KITH_ID_STRING;
    if (strings && !(load->text_end = ki_alloc_array(load->rows, sizeof(*load->text_end)))) return no_memory(error);
    kith_status status = kith_reader_seek(reader, 0, error);
    for (uint64_t row = 0; row < load->rows && status == KITH_OK;) {
        kith_rows rows = {0};
        status = kith_reader_next(reader, ROWS, &rows, error);
        if (status == KITH_OK && (!rows.count || rows.count > load->rows - row))
            status = ki_fail(error, KITH_E_FORMAT, "%s: has other rows than it had", kith_reader_path(reader));
        if (status == KITH_OK) status = take_ids(load, &rows, row, key, &texts, error);
        row += rows.count;
        if (status == KITH_OK) status = ki_load_tell(load, STAGE, row, error);
    }
    return status;
}

/* A text that is there twice, by a table of hashes; texts that follow each other are compared with those before. */
static kith_status refuse_twice(const ki_load *load, kith_error *error) {
    uint64_t slots = 16;
    while (slots < load->rows * 2) slots *= 2;
    uint32_t *slot = ki_alloc_array_zeroed(slots, sizeof(*slot)); /* a row + 1 */
    kith_status status = slot ? KITH_OK : no_memory(error);
    for (uint64_t row = 0; row < load->rows && status == KITH_OK; row++) {
        const uint64_t begin = row ? load->text_end[row - 1] : 0, bytes = load->text_end[row] - begin;
        uint64_t at = XXH3_64bits(load->text + begin, (size_t)bytes) & (slots - 1);
        for (; slot[at]; at = (at + 1) & (slots - 1)) {
            const uint64_t other = slot[at] - 1, from = other ? load->text_end[other - 1] : 0;
            char text[KI_LOAD_ROW_TEXT];
            if (load->text_end[other] - from != bytes || memcmp(load->text + from, load->text + begin, bytes) != 0)
                continue;
            status = ki_fail(error, KITH_E_DATA, "%s: has the id of row %llu", ki_load_row_text(load, row, text),
                             (unsigned long long)other);
            break;
        }
        slot[at] = (uint32_t)row + 1;
    }
    free(slot);
    return status;
}

/* The numbers that stand for the texts: those that they have, or new ones. */
static kith_status find_keys(ki_load *load, uint64_t *key, kith_error *error) {
    kith_collection *collection = load->collection;
    uint64_t fresh = 0, next = 0;
    kith_status status = refuse_twice(load, error);
    for (uint64_t row = 0; row < load->rows && status == KITH_OK; row++) {
        const uint64_t begin = row ? load->text_end[row - 1] : 0;
        const ki_bytes text = {load->text + begin, (size_t)(load->text_end[row] - begin)};
        status = ki_catalog_find_text(collection->catalog, text, &key[row], error);
        if (status == KITH_E_NOTFOUND) {
            key[row] = KITH_ID_NONE;
            fresh++;
            status = KITH_OK;
        }
        if (status == KITH_OK && row % ROWS == 0) status = ki_load_tell(load, STAGE, row, error);
    }
    if (status != KITH_OK || !fresh) return status;
    pthread_mutex_lock(&collection->writing);
    status = ki_commit_keys(collection, fresh, &next, error);
    pthread_mutex_unlock(&collection->writing);
    for (uint64_t row = 0; row < load->rows && status == KITH_OK; row++)
        if (key[row] == KITH_ID_NONE) key[row] = next++;
    return status;
}

/* ---- The file ---------------------------------------------------------------------------------------------------- */

kith_status ki_load_write_items(ki_load *load, kith_error *error) {
    struct out out = {.file = KI_OUTFILE_NONE};
    uint64_t *key = ki_alloc_array(load->rows, sizeof(*key));
    kith_status status = key ? read_ids(load, key, error) : no_memory(error);
    if (status == KITH_OK && load->text) status = find_keys(load, key, error);
    if (status == KITH_OK) status = out_open(load->items_path, &out, error);
    if (status == KITH_OK) status = add_payloads(load, &out, error);
    if (status == KITH_OK) status = out_add(&out, key, load->rows * sizeof(*key), error);
    if (status == KITH_OK) status = out_flush(&out, error);
    if (status == KITH_OK) {
        load->items_hash = XXH3_64bits_digest(out.hash);
        status = ki_outfile_commit(&out.file, error);
    }
    out_close(&out);
    free(key);
    return status;
}

void ki_load_unmap_items(ki_load *load) {
    if (!load->map) return;
    ki_map_release(load->map_slot);
    munmap(load->map, load->map_bytes);
    load->map = NULL;
    load->key = NULL;
}

/* Ends ascend within the payloads: they come from a file. */
static int ends_are_fine(const ki_load *load) {
    uint64_t before = 0;
    for (uint64_t row = 0; load->end && row < load->rows; before = load->end[row], row++)
        if (load->end[row] < before || load->end[row] > load->payload_bytes) return 0;
    return 1;
}

static kith_status map_file(ki_load *load, int fd, kith_error *error) {
    void *map = mmap(NULL, load->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return ki_fail(error, KITH_E_NOMEM, "%s: cannot be mapped", load->items_path);
    load->map = map;
    load->map_slot = KI_MAP_NONE;
    if (load->collection->options.no_sigbus_handler) return KITH_OK;
    return ki_map_protect(map, load->map_bytes, &load->map_slot, error);
}

kith_status ki_load_map_items(ki_load *load, int check, kith_error *error) {
    const uint64_t column = load->rows * sizeof(uint64_t);
    int fd = -1;
    uint64_t padded = 0, expected = 0;
    kith_status status = ki_open_read(load->items_path, &fd, &load->map_bytes, error);
    if (status != KITH_OK) return status;
    const int sized =
        load->payload_bytes < UINT64_MAX - 8 &&
        ki_add(padded = ki_round_up(load->payload_bytes, 8), column * (load->has_payloads ? 2 : 1), &expected) &&
        expected == load->map_bytes;
    if (sized) status = map_file(load, fd, error);
    close(fd);
    if (status != KITH_OK) return status;
    if (sized) {
        load->payload = load->map;
        load->end = load->has_payloads ? (const uint64_t *)((const char *)load->map + padded) : NULL;
        load->key = (const uint64_t *)((const char *)load->map + (load->map_bytes - column));
    }
    if (sized && ends_are_fine(load) && (!check || XXH3_64bits(load->map, (size_t)load->map_bytes) == load->items_hash))
        return KITH_OK;
    return ki_fail(error, KITH_E_CORRUPT, "%s: is damaged: load without resuming", load->items_path);
}

/* ---- The order of keys ------------------------------------------------------------------------------------------- */

struct keyed {
    uint64_t key, row;
};

static int by_key(const void *a, const void *b) {
    const struct keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int ascending(const ki_load *load) {
    for (uint64_t row = 1; row < load->rows; row++)
        if (load->key[row] <= load->key[row - 1]) return 0;
    return 1;
}

kith_status ki_load_sort(ki_load *load, kith_error *error) {
    char text[KI_LOAD_ROW_TEXT];
    load->order = ki_alloc_array(load->rows, sizeof(*load->order));
    if (!load->order) return no_memory(error);
    for (uint64_t row = 0; row < load->rows; row++) load->order[row] = (uint32_t)row;
    if (ascending(load)) return KITH_OK;
    struct keyed *keyed = ki_alloc_array(load->rows, sizeof(*keyed));
    if (!keyed) return no_memory(error);
    for (uint64_t row = 0; row < load->rows; row++) keyed[row] = (struct keyed){load->key[row], row};
    qsort(keyed, load->rows, sizeof(*keyed), by_key);
    kith_status status = KITH_OK;
    for (uint64_t i = 0; i < load->rows && status == KITH_OK; i++) {
        load->order[i] = (uint32_t)keyed[i].row;
        if (i && keyed[i].key == keyed[i - 1].key)
            status = ki_fail(error, KITH_E_DATA, "%s: has the id of row %llu",
                             ki_load_row_text(load, keyed[i].row, text), (unsigned long long)keyed[i - 1].row);
    }
    free(keyed);
    return status;
}
