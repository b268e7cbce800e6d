/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening a segment file: both header copies, a section table and the sections' heads are read and checked, the file is
 * mapped, and nothing else is touched.
 *
 * O1. A header copy is believed if its magic and its hash hold; A before B. Two believable copies that differ are
 *     refused. The section table is the first copy with the hash that the header says.
 * O2. Every number is checked before it is used, also when its hash holds: hashes are no secret. It is read by pread,
 *     not through the map, so that what was checked does not change.
 * O3. Truncation by less than a page raises no signal: the rest of the page just reads as zeros. But it takes the end
 *     of header copy B away, so ki_segment_damaged() compares the last eight bytes with what they were at opening.
 * O4. Another index written over this one, in place, begins with header copy A, whose hash is then another one: it is
 *     compared too. What only changes bytes in between is for verify to find.
 *
 * No huge pages are asked for: on files they make the system read 2 MiB around every fault, which ruins the re-ranking
 * of a few rows from a cold file. */
#define _GNU_SOURCE
#include "store/map.h"
#include "store/segment_map.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

static bool has_magic(const ki_header *header) {
    return memcmp(header->magic, KI_MAGIC, KI_MAGIC_BYTES) == 0;
}

static bool believable(const ki_header *header) {
    return has_magic(header) && header->header_hash == XXH3_64bits(header, offsetof(ki_header, header_hash));
}

/* The first bytes for people: printable ASCII as it is, the rest as \xNN. */
static void quote_start(const unsigned char *start, size_t bytes, char *text, size_t text_bytes) {
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < bytes && i < 16 && used + 5 < text_bytes; i++) {
        const int plain = start[i] >= 32 && start[i] < 127 && start[i] != '\\' && start[i] != '"';
        const int wrote = snprintf(text + used, text_bytes - used, plain ? "%c" : "\\x%02x", (unsigned)start[i]);
        used += (size_t)wrote;
    }
}

/* What a transfer in text mode makes of the magic: CR LF to LF, LF to CR LF, CR dropped, or the top bit cleared. */
static bool text_damaged(const unsigned char *start) {
    if (memcmp(start, "\x09KIT\r\n\x1a\n", 8) == 0) return true;
    if (memcmp(start, "\x89KIT", 4) != 0) return false;
    const unsigned char *end = start + 4;
    return memcmp(end, "\n\x1a\n", 3) == 0 || memcmp(end, "\r\r\n", 3) == 0 || memcmp(end, "\r\n\x1a\r\n", 5) == 0 ||
           memcmp(end, "\r\x1a\r", 3) == 0 || memcmp(end, "\n\n\x1a", 3) == 0;
}

/* start: the file's first `bytes` bytes, at most a header. */
static kith_status not_an_index(const char *path, const unsigned char *start, uint64_t bytes, kith_error *error) {
    char quoted[80];
    if (bytes == 0) return ki_fail(error, KITH_E_CORRUPT, "%s: not a kith index: the file is empty", path);
    if (bytes >= 9 && text_damaged(start))
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: header copy A: line endings were changed: copy the index again, in binary mode", path);
    quote_start(start, (size_t)bytes, quoted, sizeof(quoted));
    return ki_fail(error, KITH_E_CORRUPT, "%s: not a kith index: it starts with \"%s\"", path, quoted);
}

/* No copy is believable, or the file is too short for two. */
static kith_status no_header(const char *path, const ki_header *a, uint64_t start_bytes, uint64_t file_bytes,
                             kith_error *error) {
    if (start_bytes < KI_MAGIC_BYTES || !has_magic(a))
        return not_an_index(path, (const unsigned char *)a, start_bytes, error);
    if (file_bytes < KI_FILE_BYTES_MIN)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: cut short: header copy B is missing, a file of %" PRIu64 " bytes is smaller than any index",
                       path, file_bytes);
    return ki_fail(error, KITH_E_CORRUPT,
                   "%s: header copy A is damaged, and at the end of the file (byte %" PRIu64
                   ") there is no valid header copy B: the file is damaged or cut short",
                   path, file_bytes - KI_HEADER_BYTES);
}

/* A file that ends where bytes were to be read shrank since its size was taken. */
static kith_status shrunk(kith_status status, kith_error *error) {
    if (status != KITH_E_FORMAT) return status;
    if (error) error->status = KITH_E_CORRUPT;
    return KITH_E_CORRUPT;
}

/* Read and choose a header copy (O1); also the last eight bytes of each (O3, O4). */
static kith_status read_header(int fd, const char *path, uint64_t file_bytes, ki_header *header, uint64_t ends[2],
                               kith_error *error) {
    ki_header b;
    const uint64_t start_bytes = ki_min_u64(file_bytes, sizeof(*header));
    memset(header, 0, sizeof(*header));
    kith_status status = ki_read_at(fd, path, header, start_bytes, 0, error);
    if (status == KITH_OK && file_bytes < KI_FILE_BYTES_MIN)
        return believable(header) ? KITH_OK : no_header(path, header, start_bytes, file_bytes, error);
    if (status == KITH_OK) status = ki_read_at(fd, path, &b, sizeof(b), file_bytes - sizeof(b), error);
    if (status != KITH_OK) return shrunk(status, error);
    ends[0] = header->header_hash;
    ends[1] = b.header_hash;
    const bool good_a = believable(header), good_b = believable(&b);
    if (!good_a && !good_b) return no_header(path, header, start_bytes, file_bytes, error);
    if (good_a && good_b && memcmp(header, &b, sizeof(b)) != 0)
        return ki_fail(error, KITH_E_CORRUPT, "%s: header copy A and header copy B contradict each other", path);
    if (!good_a) memcpy(header, &b, sizeof(b));
    return KITH_OK;
}

static void fill_head(const ki_header *header, ki_segment_head *head) {
    *head = (ki_segment_head){
        .rows = header->rows,
        .dim = header->dim,
        .dtype = header->dtype,
        .metric = header->metric,
        .id_kind = header->id_kind,
        .lists = header->lists,
        .level1_dim = header->level1_dim,
        .flags = header->flags,
        .feature_compat = header->feature_compat,
        .feature_incompat = header->feature_incompat,
        .code_error = header->code_error,
        .level1_error = header->level1_error,
    };
    memcpy(head->parameter, header->parameter, sizeof(head->parameter));
}

/* What ki_format_read() reads the rest of a file's shape from. */
struct open_file {
    int fd;
    const char *path;
};

static kith_status read_file(void *context, void *data, uint64_t bytes, uint64_t offset, kith_error *error) {
    const struct open_file *file = context;
    return shrunk(ki_read_at(file->fd, file->path, data, bytes, offset, error), error);
}

static kith_status read_layout(ki_segment *segment, int fd, uint64_t file_bytes, kith_error *error) {
    struct open_file file = {fd, segment->path};
    const ki_file_source source = {segment->path, file_bytes, read_file, &file};
    return ki_format_read(&segment->header, &source, &segment->layout, error);
}

static kith_status map_file(ki_segment *segment, int fd, const kith_open_options *options, kith_error *error) {
    const size_t bytes = (size_t)segment->header.file_bytes;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED | (options->populate ? MAP_POPULATE : 0), fd, 0);
    if (map == MAP_FAILED) return ki_fail_errno(error, errno, "%s: cannot map %zu bytes", segment->path, bytes);
    segment->map = map;
    return options->no_sigbus_handler ? KITH_OK : ki_map_protect(map, bytes, &segment->slot, error);
}

kith_status ki_segment_open_file(int fd, uint64_t file_bytes, const char *path, const kith_open_options *given,
                                 ki_segment **out, kith_error *error) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    if (given) options = *given;
    ki_segment *segment = ki_alloc_array_zeroed(1, sizeof(*segment));
    if (!segment) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    segment->slot = KI_MAP_NONE;
    kith_status status = KITH_OK;
    segment->path = strdup(path);
    if (!segment->path)
        status = ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    else if (!ki_file_identify(fd, &segment->identity))
        status = ki_fail_errno(error, errno, "%s: cannot stat", path);
    if (status == KITH_OK) status = read_header(fd, path, file_bytes, &segment->header, segment->ends, error);
    if (status == KITH_OK) status = read_layout(segment, fd, file_bytes, error);
    if (status == KITH_OK) status = map_file(segment, fd, &options, error);
    if (status != KITH_OK) {
        ki_segment_close(segment);
        return status;
    }
    fill_head(&segment->header, &segment->head);
    *out = segment;
    return KITH_OK;
}

kith_status ki_segment_open(const char *path, const kith_open_options *options, ki_segment **out, kith_error *error) {
    uint64_t file_bytes = 0;
    int fd = -1;
    kith_status status = ki_open_read(path, &fd, &file_bytes, error);
    if (status != KITH_OK) return status;
    status = ki_segment_open_file(fd, file_bytes, path, options, out, error);
    close(fd);
    return status;
}

void ki_segment_close(ki_segment *segment) {
    if (!segment) return;
    ki_map_release(segment->slot);
    if (segment->map) munmap((void *)(uintptr_t)segment->map, (size_t)segment->header.file_bytes);
    ki_layout_free(&segment->layout);
    free(segment->path);
    free(segment);
}

const ki_segment_head *ki_segment_get_head(const ki_segment *segment) {
    return &segment->head;
}

const char *ki_segment_path(const ki_segment *segment) {
    return segment->path;
}

uint64_t ki_segment_hash(const ki_segment *segment) {
    return segment->header.file_hash;
}

uint64_t ki_segment_file_bytes(const ki_segment *segment) {
    return segment->header.file_bytes;
}

ki_part_view ki_segment_part(const ki_segment *segment, uint32_t kind) {
    const ki_part *part = ki_layout_find(&segment->layout, kind);
    return part ? (ki_part_view){segment->map + part->offset, part->bytes, part->count} : (ki_part_view){NULL, 0, 0};
}

/* Heads are the sections', not parts that anybody asks for. */
static bool is_head(const ki_layout *layout, size_t i) {
    return layout->version > 1 && KI_PART_NUMBER(layout->part[i].id) == 0;
}

size_t ki_segment_parts(const ki_segment *segment) {
    size_t count = 0;
    for (size_t i = 0; i < segment->layout.parts; i++) count += !is_head(&segment->layout, i);
    return count;
}

kith_section_info ki_segment_part_info(const ki_segment *segment, size_t number) {
    size_t i = 0;
    for (size_t seen = 0;; i++)
        if (!is_head(&segment->layout, i) && seen++ == number) break;
    const ki_part *part = &segment->layout.part[i];
    return (kith_section_info){ki_part_name(part->id), part->offset, part->bytes, part->count};
}

void ki_segment_info(const ki_segment *segment, kith_index_info *info) {
    const ki_header *header = &segment->header;
    info->rows = header->rows;
    info->dim = header->dim;
    info->dtype = (kith_dtype)header->dtype;
    info->metric = (kith_metric)header->metric;
    info->id_kind = (kith_id_kind)header->id_kind;
    info->has_names = (header->flags & KI_SEGMENT_NAMES) != 0;
    info->has_originals = (header->flags & KI_SEGMENT_ORIGINALS) != 0;
    info->integer_codes = (header->flags & KI_SEGMENT_INTEGER_CODES) != 0;
    info->lists = header->lists;
    info->first_level_dim = header->level1_dim;
    info->format_version = header->format_version;
    info->file_bytes = header->file_bytes;
    info->feature_compat = header->feature_compat;
    info->feature_incompat = header->feature_incompat;
    info->file_hash = header->file_hash;
    info->code_error = header->code_error;
    info->first_level_error = header->level1_error;
    info->sections = ki_min_size(ki_segment_parts(segment), KITH_SECTIONS_MAX);
    for (size_t i = 0; i < info->sections; i++) info->section[i] = ki_segment_part_info(segment, i);
}

int ki_segment_damaged(const ki_segment *segment) {
    if (ki_map_damaged(segment->slot)) return 1;
    /* Volatile: the file may change under the map, which no compiler expects of const memory (O3, O4). */
    const uint64_t ends[2] = {KI_HEADER_BYTES, segment->header.file_bytes};
    for (int i = 0; i < 2; i++) {
        const volatile uint64_t *end = (const volatile uint64_t *)(segment->map + ends[i] - sizeof(uint64_t));
        if (*end != segment->ends[i]) return 1;
    }
    return ki_map_damaged(segment->slot);
}
