/* SPDX-License-Identifier: Apache-2.0
 *
 * Sealed segments: opened, held and let go of, positions of rows in their indexes, and scratches that are lent. Files
 * of a segment are looked at by what the catalog says of them: size and hash of each. */
#define _GNU_SOURCE
#include "segment/sealed.h"

#include "base/checked.h"
#include "base/status.h"

#include <string.h>

struct ki_sealed_scratch {
    kith_scratch *scratch;
    const kith_pool *pool;
    size_t spec;
    ki_sealed_scratch *next;
};

/* Scratches that are kept for the next search: as many as may well search at once. A guess. */
enum { KEPT_SCRATCHES = 64 };

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

static kith_status missing(kith_status status, kith_error *error) {
    if (status != KITH_E_NOTFOUND) return status;
    if (error) error->status = KITH_E_CORRUPT;
    return KITH_E_CORRUPT;
}

/* A file against what the catalog says of it; expected->bytes 0: it was just made. */
static kith_status check_file(const char *path, const ki_body_file *expected, uint64_t bytes, uint64_t hash,
                              kith_error *error) {
    if (!expected->bytes) return KITH_OK;
    if (bytes != expected->bytes)
        return ki_fail(error, KITH_E_CORRUPT, "%s: has %llu bytes, and the catalog says %llu", path,
                       (unsigned long long)bytes, (unsigned long long)expected->bytes);
    if (hash != expected->hash)
        return ki_fail(error, KITH_E_CORRUPT, "%s: is another file than the catalog says: its hash differs", path);
    return KITH_OK;
}

static kith_status check_index(const char *path, const kith_index_info *info, const kith_vector_spec *spec,
                               uint64_t rows, kith_error *error) {
    if (info->dim != spec->dim || info->dtype != spec->dtype || info->metric != spec->metric)
        return ki_fail(error, KITH_E_CORRUPT,
                       "%s: holds %zu x %s by %s, where the collection's vector has %zu x %s by %s", path, info->dim,
                       kith_dtype_name(info->dtype), kith_metric_name(info->metric), spec->dim,
                       kith_dtype_name(spec->dtype), kith_metric_name(spec->metric));
    if (info->id_kind != KITH_ID_U64 || !info->has_originals || info->rows > rows)
        return ki_fail(error, KITH_E_CORRUPT, "%s: is no index of the segment's rows", path);
    return KITH_OK;
}

static int begins(const char *name, const char *prefix) {
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static kith_status open_index(const ki_sealed_where *where, ki_sealed *sealed, size_t spec, const ki_body_file *file,
                              kith_error *error) {
    if (!file->name[0]) return KITH_OK;
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    kith_index_info info = KITH_INDEX_INFO_INIT;
    options.no_sigbus_handler = where->no_sigbus_handler;
    char *path = ki_sealed_file(where->folder, sealed->number, file->name);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_status status = missing(kith_index_open(path, &options, &sealed->index[spec], error), error);
    if (status == KITH_OK) {
        kith_index_get_info(sealed->index[spec], &info);
        sealed->disk_bytes += info.file_bytes;
        sealed->flat |= begins(file->name, KI_FLAT_PREFIX);
        sealed->own |= begins(file->name, KI_OWN_PREFIX);
        sealed->tuned[spec].known = sealed->index[spec]->calibration.count != 0;
        status = check_file(path, file, info.file_bytes, info.file_hash, error);
    }
    if (status == KITH_OK) status = check_index(path, &info, &where->specs[spec], ki_table_rows(sealed->table), error);
    free(path);
    return status;
}

static kith_status open_table(const ki_sealed_where *where, ki_sealed *sealed, const ki_body *body, kith_error *error) {
    kith_open_options options = KITH_OPEN_OPTIONS_INIT;
    options.no_sigbus_handler = where->no_sigbus_handler;
    char *path = ki_sealed_file(where->folder, sealed->number, body->table.name);
    if (!path) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_status status = missing(ki_table_open(path, &options, &sealed->table, error), error);
    if (status == KITH_OK) {
        sealed->disk_bytes += ki_table_file_bytes(sealed->table);
        status =
            check_file(path, &body->table, ki_table_file_bytes(sealed->table), ki_table_hash(sealed->table), error);
    }
    if (status == KITH_OK && ki_table_rows(sealed->table) != body->rows)
        status = ki_fail(error, KITH_E_CORRUPT, "%s: has %llu rows, and the catalog says %llu", path,
                         (unsigned long long)ki_table_rows(sealed->table), (unsigned long long)body->rows);
    free(path);
    return status;
}

/* Fixed sizes first, so that whatever fails later is undone by a release. */
static ki_sealed *new_sealed(const ki_sealed_where *where, uint64_t number, const ki_body *body) {
    ki_sealed *sealed = ki_alloc_array_zeroed(1, sizeof(*sealed));
    if (!sealed) return NULL;
    atomic_init(&sealed->references, 1);
    atomic_init(&sealed->retired, KI_RETIRED_NOT);
    sealed->number = number;
    sealed->specs = body->specs;
    sealed->folder = ki_sealed_folder(where->folder, number);
    sealed->tuned = ki_alloc_array_zeroed(body->specs, sizeof(*sealed->tuned));
    memcpy(sealed->table_name, body->table.name, KI_BODY_NAME_BYTES);
    pthread_mutex_init(&sealed->mutex, NULL);
    if (sealed->folder && sealed->tuned) return sealed;
    ki_sealed_release(sealed);
    return NULL;
}

kith_status ki_sealed_open_made(const ki_sealed_where *where, uint64_t number, const ki_body *made, ki_sealed **out,
                                kith_error *error) {
    if (made->specs > where->spec_count)
        return ki_fail(error, KITH_E_CORRUPT, "segment %llu is of %zu named vectors, and the collection has %zu",
                       (unsigned long long)number, made->specs, where->spec_count);
    ki_sealed *sealed = new_sealed(where, number, made);
    if (!sealed) return ki_fail(error, KITH_E_NOMEM, "out of memory");
    kith_status status = open_table(where, sealed, made, error);
    for (size_t s = 0; s < made->specs && status == KITH_OK; s++)
        status = open_index(where, sealed, s, &made->index[s], error);
    if (status != KITH_OK) {
        ki_sealed_release(sealed);
        return status;
    }
    *out = sealed;
    return KITH_OK;
}

kith_status ki_sealed_open(const ki_sealed_where *where, uint64_t number, const void *bytes, size_t count,
                           ki_sealed **sealed, ki_bits **alive, kith_error *error) {
    ki_body body;
    ki_bits *bits = NULL;
    ki_sealed *opened = NULL;
    kith_status status = ki_body_files(bytes, count, number, &body, error);
    if (status == KITH_OK) status = ki_sealed_open_made(where, number, &body, &opened, error);
    if (status == KITH_OK) status = ki_body_alive(bytes, count, number, &body, &bits, error);
    if (status != KITH_OK) {
        ki_sealed_release(opened);
        return status;
    }
    opened->saved_dead = bits->rows - bits->set;
    opened->saved_version = body.version;
    *sealed = opened;
    *alive = bits;
    return KITH_OK;
}

/* The name of an open file in its folder. */
static void name_of(const ki_sealed *sealed, const char *path, char *name) {
    const size_t folder = strlen(sealed->folder) + 1, length = strlen(path);
    if (length > folder && length - folder < KI_BODY_NAME_BYTES) memcpy(name, path + folder, length - folder);
}

kith_status ki_sealed_encode(const ki_sealed *sealed, const ki_bits *alive, uint64_t version, void **data,
                             size_t *bytes, kith_error *error) {
    ki_body body = {.rows = ki_table_rows(sealed->table), .version = version, .specs = sealed->specs};
    body.table.bytes = ki_table_file_bytes(sealed->table);
    body.table.hash = ki_table_hash(sealed->table);
    memcpy(body.table.name, sealed->table_name, KI_BODY_NAME_BYTES);
    for (size_t s = 0; s < sealed->specs; s++) {
        if (!sealed->index[s]) continue;
        kith_index_info info = KITH_INDEX_INFO_INIT;
        kith_index_get_info(sealed->index[s], &info);
        body.index[s].bytes = info.file_bytes;
        body.index[s].hash = info.file_hash;
        name_of(sealed, ki_segment_path(sealed->index[s]->segment), body.index[s].name);
    }
    return ki_body_encode(&body, alive, data, bytes, error);
}

/* ---- Holding ----------------------------------------------------------------------------------------------------- */

ki_sealed *ki_sealed_hold(ki_sealed *sealed) {
    atomic_fetch_add_explicit(&sealed->references, 1, memory_order_relaxed);
    return sealed;
}

static void free_scratches(ki_sealed_scratch *scratch) {
    while (scratch) {
        ki_sealed_scratch *next = scratch->next;
        kith_scratch_destroy(scratch->scratch);
        free(scratch);
        scratch = next;
    }
}

/* While they are mapped: what they are called is known then. */
static void remove_indexes(const ki_sealed *sealed) {
    for (size_t s = 0; s < sealed->specs; s++) {
        char name[KI_BODY_NAME_BYTES] = {0};
        if (!sealed->index[s] || !(sealed->retired_slots >> s & 1)) continue;
        name_of(sealed, ki_segment_path(sealed->index[s]->segment), name);
        if (name[0]) ki_sealed_remove_files(sealed->folder, name);
    }
}

void ki_sealed_release(ki_sealed *sealed) {
    /* The last one sees all that the others did before they let go. */
    if (!sealed || atomic_fetch_sub_explicit(&sealed->references, 1, memory_order_acq_rel) != 1) return;
    const int retired = atomic_load(&sealed->retired);
    free_scratches(sealed->free);
    if (retired == KI_RETIRED_INDEXES) remove_indexes(sealed);
    free_scratches(sealed->hulls);
    for (size_t s = 0; s < sealed->specs; s++) kith_index_close(sealed->index[s]);
    ki_table_close(sealed->table);
    if (retired == KI_RETIRED_TABLE || retired == KI_RETIRED_ALL)
        ki_sealed_remove_files(sealed->folder, retired == KI_RETIRED_TABLE ? sealed->table_name : NULL);
    pthread_mutex_destroy(&sealed->mutex);
    free(sealed->tuned);
    free(sealed->folder);
    free(sealed);
}

/* ---- Copies in memory -------------------------------------------------------------------------------------------- */

uint64_t ki_sealed_hot_bytes(const ki_sealed *sealed, int whole) {
    uint64_t sum = 0;
    for (size_t s = 0; s < sealed->specs; s++) {
        const kith_index *index = sealed->index[s];
        if (index && index->hot)
            sum += whole ? ki_index_hot_size(index, index->hot_what) : ki_hot_copy_bytes(index->hot);
    }
    return sum;
}

void ki_sealed_copy_hot(ki_sealed *sealed, uint64_t room) {
    for (size_t s = 0; s < sealed->specs; s++) {
        kith_index *index = sealed->index[s];
        if (!index || index->hot || !ki_index_hot_size(index, KI_HOT_GRAPH)) continue;
        unsigned what = KI_HOT_GRAPH | KI_HOT_CODES;
        if (ki_index_hot_size(index, what) > room) what = KI_HOT_GRAPH;
        const uint64_t bytes = ki_index_hot_size(index, what);
        if (bytes > room) continue;
        ki_index_copy_hot(index, what);
        if (index->hot) room -= bytes;
    }
}

/* ---- Positions --------------------------------------------------------------------------------------------------- */

int ki_sealed_position(const ki_sealed *sealed, size_t spec, uint64_t key, uint32_t *position) {
    return sealed->index[spec] && ki_index_find(sealed->index[spec], key, position);
}

/* Where every row has a vector, the row is the key's place among all ids. That the two agree is known to
 * ki_sealed_check(); asking each label here would cost a miss of the cache a row while writers wait. */
int ki_sealed_row_position(const ki_sealed *sealed, size_t spec, uint64_t row, uint32_t *position) {
    const kith_index *index = sealed->index[spec];
    if (!index) return 0;
    if (index->view.rows != ki_table_rows(sealed->table))
        return ki_index_find(index, ki_table_keys(sealed->table)[row], position);
    *position = index->id_order[row];
    return *position < index->view.rows;
}

ki_bits *ki_sealed_positions(const ki_sealed *sealed, size_t spec, const ki_bits *alive) {
    ki_bits *bits = ki_bits_create(sealed->index[spec]->view.rows, 1);
    if (!bits || alive->set == alive->rows) return bits;
    for (uint64_t w = 0; w * 64 < alive->rows; w++) {
        const uint64_t left = alive->rows - w * 64, rows = left < 64 ? (UINT64_C(1) << left) - 1 : UINT64_MAX;
        for (uint64_t dead = ~alive->word[w] & rows; dead; dead &= dead - 1) {
            uint32_t position;
            if (ki_sealed_row_position(sealed, spec, w * 64 + (unsigned)__builtin_ctzll(dead), &position))
                ki_bits_clear(bits, position);
        }
    }
    return bits;
}

/* ---- Scratches --------------------------------------------------------------------------------------------------- */

/* Its hull stays, so that giving it back allocates nothing. */
static kith_scratch *take_free(ki_sealed *sealed, size_t spec, const kith_pool *pool) {
    pthread_mutex_lock(&sealed->mutex);
    ki_sealed_scratch **at = &sealed->free;
    while (*at && ((*at)->spec != spec || (*at)->pool != pool)) at = &(*at)->next;
    ki_sealed_scratch *found = *at;
    kith_scratch *scratch = found ? found->scratch : NULL;
    if (found) {
        *at = found->next;
        found->scratch = NULL;
        found->next = sealed->hulls;
        sealed->hulls = found;
        sealed->free_count--;
    }
    pthread_mutex_unlock(&sealed->mutex);
    return scratch;
}

kith_status ki_sealed_take(ki_sealed *sealed, size_t spec, kith_pool *pool, kith_scratch **scratch, kith_error *error) {
    kith_scratch *found = take_free(sealed, spec, pool);
    if (!found) return kith_scratch_create(sealed->index[spec], pool, scratch, error);
    *scratch = found;
    return KITH_OK;
}

/* A hull that is in no list, or NULL. */
static ki_sealed_scratch *take_hull(ki_sealed *sealed) {
    pthread_mutex_lock(&sealed->mutex);
    ki_sealed_scratch *hull = sealed->hulls;
    if (hull) sealed->hulls = hull->next;
    pthread_mutex_unlock(&sealed->mutex);
    return hull ? hull : ki_alloc_array(1, sizeof(*hull));
}

void ki_sealed_give(ki_sealed *sealed, size_t spec, kith_pool *pool, kith_scratch *scratch) {
    ki_sealed_scratch *kept = take_hull(sealed);
    int full = 1;
    if (kept) {
        *kept = (ki_sealed_scratch){.scratch = scratch, .pool = pool, .spec = spec};
        pthread_mutex_lock(&sealed->mutex);
        full = sealed->free_count >= KEPT_SCRATCHES;
        if (!full) {
            kept->next = sealed->free;
            sealed->free = kept;
            sealed->free_count++;
        }
        pthread_mutex_unlock(&sealed->mutex);
    }
    if (!full) return;
    free(kept);
    kith_scratch_destroy(scratch);
}

/* ---- Checking ---------------------------------------------------------------------------------------------------- */

static kith_status check_ids(const ki_sealed *sealed, size_t spec, kith_error *error) {
    const kith_index *index = sealed->index[spec];
    for (uint64_t p = 0; p < index->view.rows; p++) {
        uint32_t row;
        if (!ki_table_find(sealed->table, index->view.labels[p], &row))
            return ki_fail(error, KITH_E_CORRUPT, "%s: holds the id %llu, which is no row of the segment",
                           ki_segment_path(index->segment), (unsigned long long)index->view.labels[p]);
    }
    return KITH_OK;
}

kith_status ki_sealed_check(const ki_sealed *sealed, kith_pool *pool, kith_progress_fn progress, void *progress_context,
                            kith_error *error) {
    kith_status status = ki_table_check(sealed->table, pool, error);
    for (size_t s = 0; s < sealed->specs && status == KITH_OK; s++) {
        if (!sealed->index[s]) continue;
        status = kith_index_check(sealed->index[s], pool, progress, progress_context, error);
        if (status == KITH_OK) status = check_ids(sealed, s, error);
    }
    return status;
}
