/* SPDX-License-Identifier: Apache-2.0
 *
 * The folder of a load, and its manifest. Little-endian:
 *
 *   0   "KLOD"                  16  u64 hash of the sources     40  u64 hash of load/items
 *   4   u32 version, 1          24  u64 number, or 0            48  u32 1: there are payloads
 *   8   u64 rows                32  u64 bytes of payloads       52  u32 bytes of the source's name
 *   56  the name of the first source, and zeros up to a multiple of 8
 *       a body (body.h) of the files that are built; what is not has no name
 *       u64 XXH3-64 of all before it */
#define _GNU_SOURCE
#include "load/load.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/status.h"
#include "segment/home.h"
#include "state/generations.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { HEAD_BYTES = 56, VERSION = 1, MANIFEST_MAX = 1 << 20 };
static const uint32_t MAGIC = UINT32_C(0x444f4c4b); /* "KLOD" */

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory for a load");
}

/* ---- What the sources are ---------------------------------------------------------------------------------------- */

/* One row, with its id. */
static kith_status add_row(XXH3_state_t *hash, const ki_load_source *source, uint64_t row, kith_error *error) {
    kith_rows rows = {0};
    kith_status status = kith_reader_seek(source->reader, row, error);
    if (status == KITH_OK) status = kith_reader_next(source->reader, 1, &rows, error);
    if (status != KITH_OK || !rows.count) return status;
    XXH3_64bits_update(hash, rows.data, kith_row_bytes(source->info.dtype, source->info.dim));
    if (rows.ids) XXH3_64bits_update(hash, rows.ids, sizeof(*rows.ids));
    if (rows.id_ends) XXH3_64bits_update(hash, rows.id_bytes, rows.id_ends[0]);
    return KITH_OK;
}

/* The last row of a text would be found by reading all of it. */
static kith_status add_source(const ki_load *load, const ki_load_source *source, XXH3_state_t *hash,
                              kith_error *error) {
    const kith_reader_info *info = &source->info;
    const uint64_t facts[] = {source->spec,
                              load->generations->tenant[source->spec],
                              (uint64_t)info->dtype,
                              (uint64_t)info->id_kind,
                              info->dim,
                              (uint64_t)info->has_names,
                              info->rows,
                              info->file_bytes};
    const int is_text = info->format == KITH_CSV || info->format == KITH_JSONL;
    XXH3_64bits_update(hash, facts, sizeof(facts));
    kith_status status = add_row(hash, source, 0, error);
    return status == KITH_OK && !is_text ? add_row(hash, source, load->rows - 1, error) : status;
}

static kith_status mark_sources(ki_load *load, kith_error *error) {
    XXH3_state_t *hash = XXH3_createState();
    struct stat about = {0};
    kith_status status = hash ? KITH_OK : no_memory(error);
    if (hash) XXH3_64bits_reset(hash);
    for (size_t s = 0; s < load->sources && status == KITH_OK; s++)
        status = add_source(load, &load->source[s], hash, error);
    if (load->options.payloads_path && stat(load->options.payloads_path, &about) != 0) about.st_size = 0;
    const uint64_t payloads[] = {(uint64_t)load->has_payloads, (uint64_t)about.st_size};
    if (status == KITH_OK) {
        XXH3_64bits_update(hash, payloads, sizeof(payloads));
        load->mark = XXH3_64bits_digest(hash);
    }
    XXH3_freeState(hash);
    return status;
}

/* ---- The manifest ------------------------------------------------------------------------------------------------ */

struct manifest {
    uint64_t rows, mark, number, payload_bytes, items_hash;
    int has_payloads;
    char name[KITH_STRING_MAX + 1];
    ki_body body;
};

static kith_status write_file(const char *path, const void *data, size_t bytes, kith_error *error) {
    ki_outfile file = KI_OUTFILE_NONE;
    kith_status status = ki_outfile_create(path, &file, error);
    if (status == KITH_OK) status = ki_outfile_write_at(&file, data, bytes, 0, error);
    if (status == KITH_OK) status = ki_outfile_commit(&file, error);
    ki_outfile_discard(&file);
    return status;
}

kith_status ki_load_keep(ki_load *load, kith_error *error) {
    const char *name = kith_reader_path(load->source[0].reader);
    const size_t name_bytes = ki_min_size(strlen(name), KITH_STRING_MAX), padded = ki_round_up(name_bytes, 8);
    ki_bits *all = ki_bits_create(load->rows, 1);
    void *body = NULL;
    size_t body_bytes = 0;
    kith_status status = all ? ki_body_encode(&load->made, all, &body, &body_bytes, error) : no_memory(error);
    const size_t bytes = HEAD_BYTES + padded + body_bytes;
    unsigned char *to = status == KITH_OK ? ki_alloc_array_zeroed(bytes + 8, 1) : NULL;
    if (status == KITH_OK && !to) status = no_memory(error);
    if (status == KITH_OK) {
        ki_store_u32(to, MAGIC);
        ki_store_u32(to + 4, VERSION);
        ki_store_u64(to + 8, load->rows);
        ki_store_u64(to + 16, load->mark);
        ki_store_u64(to + 24, load->number);
        ki_store_u64(to + 32, load->payload_bytes);
        ki_store_u64(to + 40, load->items_hash);
        ki_store_u32(to + 48, (uint32_t)load->has_payloads);
        ki_store_u32(to + 52, (uint32_t)name_bytes);
        memcpy(to + HEAD_BYTES, name, name_bytes);
        memcpy(to + HEAD_BYTES + padded, body, body_bytes);
        ki_store_u64(to + bytes, XXH3_64bits(to, bytes));
        status = write_file(load->manifest_path, to, bytes + 8, error);
    }
    load->built |= status == KITH_OK;
    free(to);
    free(body);
    ki_bits_release(all);
    return status;
}

/* 0: these are no such bytes. */
static int parse(const unsigned char *from, size_t bytes, struct manifest *manifest) {
    if (bytes < HEAD_BYTES + 8 || bytes > MANIFEST_MAX) return 0;
    bytes -= 8;
    if (ki_load_u32(from) != MAGIC || ki_load_u32(from + 4) != VERSION ||
        ki_load_u64(from + bytes) != XXH3_64bits(from, bytes))
        return 0;
    const size_t name_bytes = ki_load_u32(from + 52);
    if (name_bytes > KITH_STRING_MAX || ki_round_up(name_bytes, 8) > bytes - HEAD_BYTES) return 0;
    const size_t at = HEAD_BYTES + ki_round_up(name_bytes, 8);
    *manifest = (struct manifest){.rows = ki_load_u64(from + 8),
                                  .mark = ki_load_u64(from + 16),
                                  .number = ki_load_u64(from + 24),
                                  .payload_bytes = ki_load_u64(from + 32),
                                  .items_hash = ki_load_u64(from + 40),
                                  .has_payloads = (int)ki_load_u32(from + 48)};
    memcpy(manifest->name, from + HEAD_BYTES, name_bytes);
    return ki_body_files(from + at, bytes - at, 0, &manifest->body, NULL) == KITH_OK &&
           manifest->body.rows == manifest->rows;
}

/* 0: there is none that can be read. */
static int read_manifest(const char *path, struct manifest *manifest) {
    int fd = -1, found = 0;
    uint64_t bytes = 0;
    if (ki_open_read(path, &fd, &bytes, NULL) != KITH_OK) return 0;
    unsigned char *data = bytes <= MANIFEST_MAX ? ki_alloc_array(bytes, 1) : NULL;
    if (data && ki_read_at(fd, path, data, bytes, 0, NULL) == KITH_OK) found = parse(data, (size_t)bytes, manifest);
    free(data);
    close(fd);
    return found;
}

/* ---- The folder -------------------------------------------------------------------------------------------------- */

static kith_status name_all(ki_load *load, kith_error *error) {
    load->folder = ki_home_path(load->collection->path, KI_HOME_LOAD);
    if (!load->folder) return no_memory(error);
    load->files = ki_home_path(load->folder, "segment");
    load->items_path = ki_home_path(load->folder, "items");
    load->manifest_path = ki_home_path(load->folder, "manifest");
    return load->files && load->items_path && load->manifest_path ? KITH_OK : no_memory(error);
}

static void take_over(ki_load *load, const struct manifest *manifest) {
    load->built = 1;
    load->made = manifest->body;
    load->payload_bytes = manifest->payload_bytes;
    load->items_hash = manifest->items_hash;
    load->report.resumed = 1; /* the table */
    for (size_t s = 0; s < load->made.specs; s++) load->report.resumed += load->made.index[s].name[0] != 0;
}

static kith_status resume(ki_load *load, kith_error *error) {
    struct manifest manifest;
    if (!read_manifest(load->manifest_path, &manifest) || !ki_home_find(load->files)) return KITH_OK;
    if (manifest.mark != load->mark || manifest.rows != load->rows || manifest.body.specs != load->generations->slots)
        return ki_fail(error, KITH_E_ARG,
                       "%s: what was left there is a load of %.200s (%llu rows), which differs from %.100s: resume "
                       "that one, or load without resuming",
                       load->folder, manifest.name, (unsigned long long)manifest.rows,
                       kith_reader_path(load->source[0].reader));
    take_over(load, &manifest);
    return KITH_OK;
}

static kith_status make_anew(ki_load *load, kith_error *error) {
    ki_load_clear(load);
    kith_status status = ki_home_make(load->folder, error);
    if (status == KITH_OK) status = ki_home_make(load->files, error);
    if (status == KITH_OK) status = ki_home_sync(load->folder, error);
    if (status == KITH_OK) status = ki_home_sync(load->collection->path, error);
    load->made = (ki_body){.rows = load->rows, .specs = load->generations->slots};
    return status;
}

kith_status ki_load_stage(ki_load *load, kith_error *error) {
    load->has_payloads = load->options.payloads_path || load->options.payloads;
    kith_status status = name_all(load, error);
    if (status == KITH_OK) status = mark_sources(load, error);
    if (status == KITH_OK && load->options.resume) status = resume(load, error);
    return status == KITH_OK && !load->built ? make_anew(load, error) : status;
}

void ki_load_clear(const ki_load *load) {
    (void)ki_remove(load->manifest_path, NULL);
    (void)ki_home_remove(load->folder, NULL);
}

/* ---- Its place --------------------------------------------------------------------------------------------------- */

static kith_status rename_folder(const char *from, const char *to, kith_error *error) {
    return rename(from, to) == 0 ? KITH_OK : ki_fail_errno(error, errno, "%s: cannot be renamed to %s", from, to);
}

kith_status ki_load_place(ki_load *load, kith_error *error) {
    kith_collection *collection = load->collection;
    pthread_mutex_lock(&collection->writing);
    load->number = collection->next_segment++;
    pthread_mutex_unlock(&collection->writing);
    kith_status status = ki_load_keep(load, error);
    ki_sealed_remove_folder(collection->segments_path, load->number);
    char *place = ki_sealed_folder(collection->segments_path, load->number);
    if (status == KITH_OK) status = place ? rename_folder(load->files, place, error) : no_memory(error);
    if (status == KITH_OK) status = ki_home_sync(collection->segments_path, error);
    free(place);
    return status;
}

void ki_load_displace(ki_load *load) {
    char *place = load->number ? ki_sealed_folder(load->collection->segments_path, load->number) : NULL;
    if (place && !ki_home_find(load->files)) (void)rename_folder(place, load->files, NULL);
    free(place);
}

void ki_load_put_back(kith_collection *collection) {
    ki_load load = {.collection = collection};
    struct manifest manifest;
    int committed = 0;
    const int named = name_all(&load, NULL) == KITH_OK;
    if (named && ki_home_find(load.folder) && !ki_home_find(load.manifest_path)) {
        ki_load_clear(&load); /* D2: killed before there was one, or while a folder was removed */
    } else if (named && read_manifest(load.manifest_path, &manifest) && manifest.number && !ki_home_find(load.files)) {
        const ki_snapshot *now = collection->current;
        for (size_t s = 0; s < now->sealed_count; s++) committed |= now->sealed[s].sealed->number == manifest.number;
        load.number = manifest.number;
        if (committed)
            ki_load_clear(&load);
        else
            ki_load_displace(&load);
    }
    free(load.folder);
    free(load.files);
    free(load.items_path);
    free(load.manifest_path);
}
