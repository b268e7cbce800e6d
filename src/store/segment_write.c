/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing a segment file.
 *
 * W1. Blocks that one put covers wholly are hashed from the caller's memory, so that the verifying pass, which reads
 *     the file back, compares two independent things. Blocks made of several puts are hashed from the file at finish.
 * W2. A block's state is HASHED only while its hash describes its latest content: a put that touches a part of it takes
 *     the state back. Threads that share a block only ever take it back, hence the atomics.
 * W3. After a failed put the writer is poisoned: finish refuses.
 * W4. The name appears last (ki_outfile_commit), after sync, reading back and comparing all bytes: S3.
 * W5. A draft makes its blocks UNKNOWN, and once there are drafts only what is put is pushed to the disk, not the whole
 *     file: drafts would be written twice.
 * W6. Heads of sections are put like parts, when their section is laid out: the sizes of its parts are known then.
 *
 * Reading back goes through the page cache: it proves what the system holds and has synced, not what the disk's plates
 * hold. Dropping the cache to force real reads was left out: it doubles the disk's work for every build, and a disk
 * that loses synced data is found by kith verify. */
#define _GNU_SOURCE
#include "store/blocks.h"
#include "store/format.h"

#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { UNKNOWN = 0, HASHED = 1 };

/* Hashed and then written in steps that fit a core's L2, so that the copy into the page cache finds them there. */
static const uint64_t STEP_BYTES = 16 * KI_BLOCK_BYTES;
/* Every so many bytes the system is asked to begin writing, so that the final sync finds little left. */
static const uint64_t WRITEBACK_BYTES = 16u << 20;

struct ki_segment_writer {
    ki_outfile file;
    ki_layout layout;
    uint64_t *hash;      /* a block each */
    atomic_uchar *state; /* a block each, W2 */
    size_t hash_capacity, state_capacity;
    atomic_uint_fast64_t written; /* bytes put so far */
    atomic_int failed;            /* W3 */
    atomic_int drafts;            /* the file holds drafts: W5 */
    uint64_t *hash_wanted;        /* where finish puts the file's hash, or NULL */
};

static uint64_t blocks_of(const ki_segment_writer *writer) {
    return writer->layout.blocks;
}

/* Place for the hashes of all blocks of the layout, the padding of their table included. */
static kith_status reserve_hashes(ki_segment_writer *writer, uint64_t blocks_before, kith_error *error) {
    const uint64_t blocks = blocks_of(writer);
    const uint64_t words = ki_block_table_bytes(blocks) / sizeof(uint64_t);
    void *hash = writer->hash, *state = writer->state;
    const bool hash_ok = ki_array_reserve(&hash, &writer->hash_capacity, words, sizeof(uint64_t));
    writer->hash = hash;
    const bool state_ok =
        hash_ok && ki_array_reserve(&state, &writer->state_capacity, blocks + 1, sizeof(atomic_uchar));
    writer->state = state;
    if (!state_ok)
        return ki_fail(error, KITH_E_NOMEM, "%s: out of memory for the hashes of %" PRIu64 " blocks", writer->file.path,
                       blocks);
    memset(writer->hash + blocks_before, 0, (size_t)(words - blocks_before) * sizeof(uint64_t));
    for (uint64_t i = blocks_before; i < blocks; i++) atomic_init(&writer->state[i], UNKNOWN);
    return KITH_OK;
}

static kith_status grow_file(ki_segment_writer *writer, kith_error *error) {
    while (ftruncate(writer->file.fd, (off_t)writer->layout.data_end) != 0)
        if (errno != EINTR)
            return ki_fail_errno(error, errno, "%s: cannot grow to %" PRIu64 " bytes", writer->file.path,
                                 writer->layout.data_end);
    return KITH_OK;
}

/* Write the heads of the sections from `first` on, and note their hashes. */
static kith_status put_heads(ki_segment_writer *writer, uint32_t first, kith_error *error) {
    for (uint32_t i = first; i < writer->layout.sections; i++) {
        ki_section_entry *entry = &writer->layout.section[i];
        unsigned char *head = ki_alloc_array(entry->head_bytes, 1);
        if (!head) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", writer->file.path);
        ki_section_head_fill(&writer->layout, i, head);
        entry->head_hash = XXH3_64bits(head, entry->head_bytes);
        const kith_status status = ki_segment_put(writer, KI_PART(entry->family, 0), 0, head, entry->head_bytes, error);
        free(head);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

/* A section for each run of parts of a family. */
static kith_status lay_out(ki_segment_writer *writer, const char *path, const ki_part_plan *plan, size_t parts,
                           kith_error *error) {
    ki_layout_init(&writer->layout, KI_FORMAT_VERSION);
    for (size_t first = 0, end; first < parts; first = end) {
        for (end = first + 1; end < parts; end++)
            if (KI_PART_FAMILY(plan[end].kind) != KI_PART_FAMILY(plan[first].kind)) break;
        const kith_status status = ki_layout_add(&writer->layout, path, plan + first, end - first, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

kith_status ki_segment_create(const char *path, const ki_part_plan *plan, size_t parts, ki_segment_writer **out,
                              kith_error *error) {
    ki_segment_writer *writer = ki_alloc_array_zeroed(1, sizeof(*writer));
    if (!writer) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", path);
    writer->file = (ki_outfile)KI_OUTFILE_NONE;
    kith_status status = lay_out(writer, path, plan, parts, error);
    if (status == KITH_OK) status = ki_outfile_create(path, &writer->file, error);
    if (status == KITH_OK) status = reserve_hashes(writer, 0, error);
    if (status == KITH_OK) status = grow_file(writer, error);
    if (status == KITH_OK) status = put_heads(writer, 0, error);
    if (status != KITH_OK) {
        ki_segment_abandon(writer);
        return status;
    }
    *out = writer;
    return KITH_OK;
}

void ki_segment_expect(ki_segment_writer *writer, const ki_file_identity *identity) {
    writer->file.expected = *identity;
}

void ki_segment_want_hash(ki_segment_writer *writer, uint64_t *hash) {
    writer->hash_wanted = hash;
}

void ki_segment_abandon(ki_segment_writer *writer) {
    if (!writer) return;
    ki_outfile_discard(&writer->file);
    ki_layout_free(&writer->layout);
    free(writer->hash);
    free(writer->state);
    free(writer);
}

/* The hash of a block whose content is `bytes` given bytes and then zeros. False when memory was refused. */
static bool hash_padded(const void *data, uint64_t bytes, uint64_t padded, uint64_t *hash) {
    static const unsigned char zeros[KI_SECTION_ALIGN];
    if (bytes == padded) {
        *hash = XXH3_64bits(data, (size_t)bytes);
        return true;
    }
    XXH3_state_t *state = XXH3_createState();
    if (!state) return false;
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, data, (size_t)bytes);
    for (uint64_t left = padded - bytes; left;) {
        const uint64_t step = ki_min_u64(left, sizeof(zeros));
        XXH3_64bits_update(state, zeros, (size_t)step);
        left -= step;
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return true;
}

/* W1 and W2 for the bytes [from, from + bytes) of a part, whose data is given. */
static void hash_put(ki_segment_writer *writer, const ki_part *part, uint64_t from, const unsigned char *data,
                     uint64_t bytes) {
    const uint64_t end = from + bytes;
    const uint64_t range = ki_layout_end(&writer->layout, (size_t)(part - writer->layout.part)) - part->offset;
    for (uint64_t begin = from / KI_BLOCK_BYTES * KI_BLOCK_BYTES; begin < end; begin += KI_BLOCK_BYTES) {
        const uint64_t number = part->first_block + begin / KI_BLOCK_BYTES;
        const uint64_t used = ki_min_u64(KI_BLOCK_BYTES, part->bytes - begin);
        const bool whole = begin >= from && begin + used <= end;
        /* Without a hash the block is hashed at finish like any other: a refused allocation costs nothing but time. */
        const bool hashed = whole && hash_padded(data + (begin - from), used, ki_min_u64(KI_BLOCK_BYTES, range - begin),
                                                 &writer->hash[number]);
        atomic_store_explicit(&writer->state[number], hashed ? HASHED : UNKNOWN, memory_order_relaxed);
    }
}

/* A hint: file systems without it lose nothing but time. */
static void begin_writeback(ki_segment_writer *writer, uint64_t offset, uint64_t bytes) {
    if (atomic_load_explicit(&writer->drafts, memory_order_relaxed)) {
        if (bytes >= STEP_BYTES / 4)
            (void)sync_file_range(writer->file.fd, (off_t)offset, (off_t)bytes, SYNC_FILE_RANGE_WRITE);
        return;
    }
    const uint64_t before = atomic_fetch_add_explicit(&writer->written, bytes, memory_order_relaxed);
    if (before / WRITEBACK_BYTES == (before + bytes) / WRITEBACK_BYTES) return;
    (void)sync_file_range(writer->file.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

/* The part that has these bytes. */
static kith_status find_part(const ki_segment_writer *writer, uint32_t kind, uint64_t offset, uint64_t bytes,
                             const ki_part **part, kith_error *error) {
    uint64_t end;
    *part = ki_layout_find(&writer->layout, kind);
    if (*part && ki_add(offset, bytes, &end) && end <= (*part)->bytes) return KITH_OK;
    return ki_fail(error, KITH_E_ARG, "%s: %" PRIu64 " bytes at %" PRIu64 " are not in %s", writer->file.path, bytes,
                   offset, ki_part_place(kind));
}

kith_status ki_segment_put(ki_segment_writer *writer, uint32_t kind, uint64_t offset, const void *data, uint64_t bytes,
                           kith_error *error) {
    const ki_part *part;
    const kith_status found = find_part(writer, kind, offset, bytes, &part, error);
    if (found != KITH_OK) return found;
    const unsigned char *from = data;
    while (bytes) {
        /* Steps end on the part's block borders, so that no block is cut by a step. */
        const uint64_t step = ki_min_u64(bytes, STEP_BYTES - offset % KI_BLOCK_BYTES);
        hash_put(writer, part, offset, from, step);
        const kith_status status = ki_outfile_write_at(&writer->file, from, step, part->offset + offset, error);
        if (status != KITH_OK) {
            atomic_store(&writer->failed, 1);
            return status;
        }
        begin_writeback(writer, part->offset + offset, step);
        from += step;
        offset += step;
        bytes -= step;
    }
    return KITH_OK;
}

kith_status ki_segment_draft(ki_segment_writer *writer, uint32_t kind, uint64_t offset, const void *data,
                             uint64_t bytes, kith_error *error) {
    const ki_part *part;
    kith_status status = find_part(writer, kind, offset, bytes, &part, error);
    if (status != KITH_OK || bytes == 0) return status;
    atomic_store_explicit(&writer->drafts, 1, memory_order_relaxed);
    const uint64_t first = part->first_block + offset / KI_BLOCK_BYTES;
    const uint64_t last = part->first_block + (offset + bytes - 1) / KI_BLOCK_BYTES;
    for (uint64_t i = first; i <= last; i++) atomic_store_explicit(&writer->state[i], UNKNOWN, memory_order_relaxed);
    status = ki_outfile_write_at(&writer->file, data, bytes, part->offset + offset, error);
    if (status != KITH_OK) atomic_store(&writer->failed, 1);
    return status;
}

kith_status ki_segment_get(ki_segment_writer *writer, uint32_t kind, uint64_t offset, void *data, uint64_t bytes,
                           kith_error *error) {
    const ki_part *part;
    const kith_status status = find_part(writer, kind, offset, bytes, &part, error);
    if (status != KITH_OK) return status;
    return ki_outfile_read_at(&writer->file, data, bytes, part->offset + offset, error);
}

static kith_status append(ki_segment_writer *writer, const ki_part_data *part, size_t parts, const ki_part_plan *plan,
                          kith_error *error) {
    const uint64_t blocks_before = blocks_of(writer);
    kith_status status = ki_layout_add(&writer->layout, writer->file.path, plan, parts, error);
    if (status != KITH_OK) return status;
    status = reserve_hashes(writer, blocks_before, error);
    if (status == KITH_OK) status = grow_file(writer, error);
    if (status == KITH_OK) status = put_heads(writer, writer->layout.sections - 1, error);
    for (size_t i = 0; status == KITH_OK && i < parts; i++)
        status = ki_segment_put(writer, plan[i].kind, 0, part[i].data, plan[i].bytes, error);
    if (status != KITH_OK) atomic_store(&writer->failed, 1);
    return status;
}

kith_status ki_segment_append(ki_segment_writer *writer, const ki_part_data *part, size_t parts, kith_error *error) {
    /* What a preview left behind the sections goes: padding reads as zeros. */
    kith_status status = grow_file(writer, error);
    if (status != KITH_OK) return status;
    ki_part_plan *plan = ki_alloc_array(parts, sizeof(*plan));
    if (!plan) return ki_fail(error, KITH_E_NOMEM, "%s: out of memory", writer->file.path);
    for (size_t i = 0; i < parts; i++) plan[i] = part[i].plan;
    status = append(writer, part, parts, plan, error);
    free(plan);
    return status;
}

/* ---- Finish ------------------------------------------------------------------------------------------------------ */

struct reading {
    ki_segment_writer *writer;
    unsigned char *buffer; /* a block for each worker */
};

static kith_status read_block(struct reading *reading, const ki_block *block, unsigned worker, unsigned char **data,
                              kith_error *error) {
    *data = reading->buffer + (size_t)worker * KI_BLOCK_BYTES;
    return ki_outfile_read_at(&reading->writer->file, *data, block->bytes, block->offset, error);
}

static kith_status hash_block(void *context, uint64_t number, const ki_block *block, unsigned worker,
                              kith_error *error) {
    struct reading *reading = context;
    unsigned char *data;
    if (atomic_load_explicit(&reading->writer->state[number], memory_order_relaxed) == HASHED) return KITH_OK;
    const kith_status status = read_block(reading, block, worker, &data, error);
    if (status == KITH_OK) reading->writer->hash[number] = XXH3_64bits(data, (size_t)block->bytes);
    return status;
}

static kith_status compare_block(void *context, uint64_t number, const ki_block *block, unsigned worker,
                                 kith_error *error) {
    struct reading *reading = context;
    unsigned char *data;
    const kith_status status = read_block(reading, block, worker, &data, error);
    if (status != KITH_OK || XXH3_64bits(data, (size_t)block->bytes) == reading->writer->hash[number]) return status;
    char place[KI_PLACE_BYTES];
    ki_block_place(&reading->writer->layout, block, data, place, sizeof(place));
    return ki_fail(error, KITH_E_IO, "%s: %s: the block at byte %" PRIu64 " reads back differently than it was written",
                   reading->writer->file.path, place, block->offset);
}

static void fill_header(const ki_segment_writer *writer, const ki_segment_head *head, ki_header *header) {
    const ki_layout *layout = &writer->layout;
    const uint64_t blocks = blocks_of(writer), table_bytes = ki_block_table_bytes(blocks);
    static_assert(sizeof(layout->section) == KI_SECTION_TABLE_BYTES, "it is written as it lies");
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, KI_MAGIC, KI_MAGIC_BYTES);
    header->format_version = KI_FORMAT_VERSION;
    header->header_bytes = KI_HEADER_BYTES;
    header->feature_compat = head->feature_compat;
    header->feature_incompat = head->feature_incompat;
    header->file_bytes = layout->data_end + table_bytes + KI_SECTION_TABLE_BYTES + KI_HEADER_BYTES;
    header->rows = head->rows;
    header->dim = head->dim;
    header->dtype = head->dtype;
    header->metric = head->metric;
    header->id_kind = head->id_kind;
    header->lists = head->lists;
    header->level1_dim = head->level1_dim;
    header->flags = head->flags;
    header->section_count = layout->sections;
    header->block_table_offset = layout->data_end;
    header->block_count = blocks;
    header->block_bytes = KI_BLOCK_BYTES;
    header->section_entry_bytes = sizeof(ki_section_entry);
    header->code_error = head->code_error;
    header->level1_error = head->level1_error;
    memcpy(header->parameter, head->parameter, sizeof(header->parameter));
    header->block_table_hash = XXH3_64bits(writer->hash, (size_t)table_bytes);
    header->section_table_hash = XXH3_64bits(layout->section, sizeof(layout->section));
    header->section_table_bytes = KI_SECTION_TABLE_BYTES;
    ki_header_seal(header);
}

/* What lies around the sections. */
enum { TABLES = 5 };
struct table {
    const char *what;
    const void *data;
    uint64_t bytes, offset;
};

static void list_tables(const ki_segment_writer *writer, const ki_header *header, struct table table[TABLES]) {
    const ki_section_entry *sections = writer->layout.section;
    const uint64_t blocks = header->block_table_offset, copy_b = header->file_bytes - KI_HEADER_BYTES;
    const uint64_t table_b = copy_b - KI_SECTION_TABLE_BYTES;
    table[0] = (struct table){"block table", writer->hash, table_b - blocks, blocks};
    table[1] = (struct table){"section table, copy B,", sections, KI_SECTION_TABLE_BYTES, table_b};
    table[2] = (struct table){"header copy B", header, KI_HEADER_BYTES, copy_b};
    table[3] = (struct table){"section table, copy A,", sections, KI_SECTION_TABLE_BYTES, KI_HEADER_BYTES};
    table[4] = (struct table){"header copy A", header, KI_HEADER_BYTES, 0};
}

static kith_status write_tables(ki_segment_writer *writer, const ki_header *header, kith_error *error) {
    struct table table[TABLES];
    kith_status status = KITH_OK;
    list_tables(writer, header, table);
    for (int i = 0; i < TABLES && status == KITH_OK; i++)
        status = ki_outfile_write_at(&writer->file, table[i].data, table[i].bytes, table[i].offset, error);
    return status;
}

/* Read a table back, a block at a time, and compare with what it should be. */
static kith_status compare_range(struct reading *reading, const struct table *table, kith_error *error) {
    ki_outfile *file = &reading->writer->file;
    for (uint64_t done = 0; done < table->bytes; done += KI_BLOCK_BYTES) {
        const uint64_t step = ki_min_u64(KI_BLOCK_BYTES, table->bytes - done);
        const kith_status status = ki_outfile_read_at(file, reading->buffer, step, table->offset + done, error);
        if (status != KITH_OK) return status;
        if (memcmp(reading->buffer, (const char *)table->data + done, (size_t)step) != 0)
            return ki_fail(error, KITH_E_IO, "%s: %s reads back differently than it was written", file->path,
                           table->what);
    }
    return KITH_OK;
}

static kith_status compare_tables(struct reading *reading, const ki_header *header, kith_error *error) {
    struct table table[TABLES];
    kith_status status = KITH_OK;
    list_tables(reading->writer, header, table);
    for (int i = 0; i < TABLES && status == KITH_OK; i++) status = compare_range(reading, &table[i], error);
    return status;
}

static kith_status sync_file(const ki_segment_writer *writer, kith_error *error) {
    /* Not repeated when it fails: the system may have dropped the pages it could not write, and then says yes. */
    if (fdatasync(writer->file.fd) != 0) return ki_fail_errno(error, errno, "%s: cannot sync", writer->file.path);
    return KITH_OK;
}

kith_status ki_segment_preview(ki_segment_writer *writer, const ki_segment_head *head, const kith_open_options *options,
                               ki_segment **segment, kith_error *error) {
    ki_header header;
    fill_header(writer, head, &header);
    const kith_status status = write_tables(writer, &header, error);
    if (status != KITH_OK) return status;
    return ki_segment_open_file(writer->file.fd, header.file_bytes, writer->file.path, options, segment, error);
}

kith_status ki_segment_finish(ki_segment_writer *writer, const ki_segment_head *head, kith_pool *pool,
                              kith_progress_fn progress, void *progress_context, uint64_t *file_bytes,
                              kith_error *error) {
    ki_header header;
    struct reading reading = {writer, ki_alloc_array(ki_pool_threads(pool), KI_BLOCK_BYTES)};
    ki_block_pass pass = {.layout = &writer->layout,
                          .pool = pool,
                          .stage = "hashing",
                          .progress = progress,
                          .progress_context = progress_context,
                          .fn = hash_block,
                          .context = &reading};
    kith_status status = KITH_OK;
    if (!reading.buffer)
        status = ki_fail(error, KITH_E_NOMEM, "%s: out of memory", writer->file.path);
    else if (atomic_load(&writer->failed))
        status =
            ki_fail(error, KITH_E_ARG, "%s: an earlier write failed: the file cannot be finished", writer->file.path);
    else if (head->feature_incompat & ~KI_FEATURES_INCOMPAT_KNOWN)
        status = ki_fail(error, KITH_E_ARG, "%s: feature bits 0x%" PRIx64 " are not defined", writer->file.path,
                         head->feature_incompat);
    if (status != KITH_OK) goto out;
    status = ki_blocks_run(&pass, error);
    if (status != KITH_OK) goto out;
    fill_header(writer, head, &header);
    status = write_tables(writer, &header, error);
    if (status == KITH_OK) status = sync_file(writer, error);
    if (status != KITH_OK) goto out;
    pass.stage = "verifying";
    pass.fn = compare_block;
    status = ki_blocks_run(&pass, error);
    if (status == KITH_OK) status = compare_tables(&reading, &header, error);
    if (status == KITH_OK) status = ki_outfile_commit(&writer->file, error);
    if (status == KITH_OK && file_bytes) *file_bytes = header.file_bytes;
    if (status == KITH_OK && writer->hash_wanted) *writer->hash_wanted = header.file_hash;
out:
    free(reading.buffer);
    ki_segment_abandon(writer);
    return status;
}
