/* SPDX-License-Identifier: Apache-2.0
 *
 * kith_collection_repair: segments whose files are damaged give what their checksums still vouch for; that goes into
 * the catalog's log, as if it had been written anew, and the segments go. What no row is left of is told and removed.
 *
 * P1. One transaction takes the damaged segments out and puts what was saved in: a repair that is killed has done
 * nothing
 *     or all of that, and can be repeated.
 * P2. A row is saved if the blocks of its id and of its vector match their checksums. Whatever else of an index is
 * damaged
 *     (codes, lists) is made anew when the rows are sealed again.
 * P3. Of a key that lives elsewhere too (another segment; the log, after the version of the damaged segment's dead
 *     rows) the other row is the newer one: nothing is saved of it here. What the log has of a key that is lost goes
 *     with it: an older row must not come back.
 * P4. A damaged catalog cannot be repaired here: it is the only place that knows payloads and which rows live. */
#include "base/checked.h"
#include "base/grow.h"
#include "base/status.h"
#include "collection/lock.h"
#include "segment/body.h"
#include "segment/home.h"
#include "state/made.h"
#include "write/commit.h"

#include <stdlib.h>
#include <string.h>

/* ---- What is there ----------------------------------------------------------------------------------------------- */

/* A segment of the catalog. */
struct old_segment {
    uint64_t number;
    ki_sealed *sealed; /* NULL: damaged */
    ki_bits *alive;    /* of a whole one */
    void *body;
    size_t bytes;
};

/* A row that was saved: its vectors lie in the maps of the damaged indexes. */
struct saved_row {
    uint64_t key;
    const void *vector[KITH_VECTORS_MAX];
};

struct repair {
    const char *path;
    int lock_fd;
    char *segments_path;
    ki_catalog *catalog;
    ki_made made;
    ki_generations *generations;
    ki_state state;
    kith_lost_fn lost;
    void *lost_context;
    kith_progress_fn progress;
    void *progress_context;
    kith_repair_report report;

    struct old_segment *segment;
    size_t segments, segment_room;
    struct logged {
        uint64_t key, version;
    } * logged; /* keys of the log and the last version that it has of them, ascending */
    size_t logged_count, logged_room;
    kith_index **opened; /* damaged indexes whose maps saved rows point into */
    size_t opened_count, opened_room;
    struct saved_row *saved; /* by ascending key */
    size_t saved_count, saved_room;
};

static kith_status no_memory(kith_error *error) {
    return ki_fail(error, KITH_E_NOMEM, "out of memory");
}

/* A ki_catalog_body_fn. */
static kith_status note_segment(void *context, uint64_t number, ki_bytes body, kith_error *error) {
    struct repair *repair = context;
    if (!ki_array_reserve((void **)&repair->segment, &repair->segment_room, repair->segments + 1,
                          sizeof(*repair->segment)))
        return no_memory(error);
    struct old_segment *segment = &repair->segment[repair->segments];
    *segment = (struct old_segment){.number = number, .body = malloc(body.bytes + 1), .bytes = body.bytes};
    if (!segment->body) return no_memory(error);
    memcpy(segment->body, body.data, body.bytes);
    repair->segments++;
    return KITH_OK;
}

/* A ki_log_fn. */
static kith_status note_logged(void *context, const ki_log_head *head, const ki_log_operation *operation,
                               kith_error *error) {
    struct repair *repair = context;
    if (!ki_array_reserve((void **)&repair->logged, &repair->logged_room, repair->logged_count + 1,
                          sizeof(*repair->logged)))
        return no_memory(error);
    repair->logged[repair->logged_count++] = (struct logged){operation->key, head->version};
    return KITH_OK;
}

/* A ki_catalog_body_fn. */
static kith_status note_log(void *context, uint64_t sequence, ki_bytes body, kith_error *error) {
    struct repair *repair = context;
    ki_log_head head;
    const kith_status status =
        ki_log_read(repair->generations, repair->path, sequence, body, &head, note_logged, repair, error);
    if (status != KITH_OK) return status;
    if (head.version > repair->state.version) repair->state.version = head.version;
    if (head.next_key > repair->state.next_key) repair->state.next_key = head.next_key;
    return KITH_OK;
}

static int compare_logged(const void *a, const void *b) {
    const struct logged *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return (x->version > y->version) - (x->version < y->version);
}

/* The last version that the log has of a key; 0: none. */
static uint64_t logged_version(const struct repair *repair, uint64_t key) {
    size_t low = 0, high = repair->logged_count; /* the first one beyond the key */
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (repair->logged[middle].key <= key)
            low = middle + 1;
        else
            high = middle;
    }
    return low && repair->logged[low - 1].key == key ? repair->logged[low - 1].version : 0;
}

/* Whether an item's row is one that the log brings back. */
static int in_log(const struct repair *repair, const ki_catalog_item *item) {
    const uint64_t version = logged_version(repair, item->key);
    return version && version >= item->version;
}

static kith_status read_catalog(struct repair *repair, kith_error *error) {
    ki_found found = {0};
    kith_status status = ki_catalog_check(repair->catalog, repair->progress, repair->progress_context, error);
    if (status == KITH_OK) status = ki_catalog_get_setting(repair->catalog, KI_SETTING_MADE, &found, error);
    if (status == KITH_OK) status = ki_made_decode(found.body, repair->path, &repair->made, error);
    if (status == KITH_OK)
        status = ki_generations_read(repair->catalog, repair->path, &repair->made, &repair->generations, error);
    if (status == KITH_OK) status = ki_catalog_get_setting(repair->catalog, KI_SETTING_STATE, &found, error);
    if (status == KITH_OK) status = ki_state_decode(found.body, repair->path, &repair->state, error);
    if (status == KITH_OK) status = ki_catalog_scan_segments(repair->catalog, note_segment, repair, error);
    if (status == KITH_OK) status = ki_catalog_scan_log(repair->catalog, 0, note_log, repair, error);
    if (status == KITH_OK && repair->logged_count)
        qsort(repair->logged, repair->logged_count, sizeof(*repair->logged), compare_logged);
    ki_found_free(&found);
    if (status != KITH_E_CORRUPT && status != KITH_E_NOTFOUND) return status;
    kith_error own = error ? *error : (kith_error){0};
    own.text[KITH_ERROR_TEXT_BYTES / 2] = 0;
    return ki_fail(error, KITH_E_CORRUPT, "%s: the catalog is damaged, and only a snapshot can help: %s", repair->path,
                   own.text);
}

/* Whole segments are opened; what cannot be opened or fails its checks stays NULL. */
static kith_status check_segments(struct repair *repair, kith_error *error) {
    const ki_sealed_where where = {
        .folder = repair->segments_path, .specs = repair->generations->spec, .spec_count = repair->generations->slots};
    for (size_t i = 0; i < repair->segments; i++) {
        struct old_segment *segment = &repair->segment[i];
        kith_error own = {0};
        kith_status status = ki_sealed_open(&where, segment->number, segment->body, segment->bytes, &segment->sealed,
                                            &segment->alive, &own);
        if (status == KITH_OK)
            status = ki_sealed_check(segment->sealed, NULL, repair->progress, repair->progress_context, &own);
        if (status == KITH_OK) continue;
        if (status != KITH_E_CORRUPT && status != KITH_E_FORMAT)
            return ki_fail(error, status, "%s", own.text); /* not damage, but memory, a signal, a newer kith */
        ki_sealed_release(segment->sealed);
        ki_bits_release(segment->alive);
        segment->sealed = NULL;
        segment->alive = NULL;
        repair->report.segments++;
    }
    return KITH_OK;
}

static int lives_in_whole(const struct repair *repair, uint64_t key) {
    for (size_t i = 0; i < repair->segments; i++) {
        const struct old_segment *segment = &repair->segment[i];
        uint32_t row;
        if (segment->sealed && ki_table_find(segment->sealed->table, key, &row) && ki_bits_get(segment->alive, row))
            return 1;
    }
    return 0;
}

/* ---- Saving ------------------------------------------------------------------------------------------------------ */

/* Positions of one index that damage touches. */
struct damage {
    ki_bits *fine;
    uint64_t row_bytes, rows;
};

static void strike(void *context, uint64_t offset, uint64_t bytes) {
    struct damage *damage = context;
    const uint64_t first = offset / damage->row_bytes, last = (offset + bytes - 1) / damage->row_bytes;
    for (uint64_t row = first; row <= last && row < damage->rows; row++) ki_bits_clear(damage->fine, row);
}

static ki_bits *fine_positions(const kith_index *index) {
    struct damage damage = {.fine = ki_bits_create(index->view.rows, 1), .rows = index->view.rows};
    if (!damage.fine) return NULL;
    damage.row_bytes = index->view.row_bytes;
    ki_segment_find_damage(index->segment, KI_PART_ORIGINALS, strike, &damage);
    damage.row_bytes = sizeof(uint64_t);
    ki_segment_find_damage(index->segment, KI_PART_IDS, strike, &damage);
    return damage.fine;
}

/* The place of a key among the saved rows, made if it is not there. NULL: no memory. */
static struct saved_row *saved_row_of(struct repair *repair, uint64_t key) {
    size_t low = 0, high = repair->saved_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (repair->saved[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < repair->saved_count && repair->saved[low].key == key) return &repair->saved[low];
    if (!ki_array_reserve((void **)&repair->saved, &repair->saved_room, repair->saved_count + 1,
                          sizeof(*repair->saved)))
        return NULL;
    memmove(&repair->saved[low + 1], &repair->saved[low], (repair->saved_count - low) * sizeof(*repair->saved));
    repair->saved_count++;
    repair->saved[low] = (struct saved_row){.key = key};
    return &repair->saved[low];
}

static void note_damage(void *context, uint64_t offset, uint64_t bytes) {
    (void)offset;
    (void)bytes;
    *(int *)context = 1;
}

/* Save what lies at a position, unless the log or a whole segment knows better. */
static kith_status save_position(struct repair *repair, const kith_index *index, size_t spec, uint64_t position,
                                 uint64_t version, kith_error *error) {
    const uint64_t key = index->view.labels[position];
    if (logged_version(repair, key) > version || lives_in_whole(repair, key)) return KITH_OK;
    struct saved_row *row = saved_row_of(repair, key);
    if (!row) return no_memory(error);
    if (!row->vector[spec]) row->vector[spec] = index->view.originals + position * index->view.row_bytes;
    return KITH_OK;
}

/* By ascending key, which tells the rows that live where every row has this vector; where the order is damaged, all. */
static kith_status save_index(struct repair *repair, const ki_bits *alive, uint64_t version, kith_index *index,
                              size_t spec, kith_error *error) {
    int disordered = index->id_order == NULL;
    ki_bits *fine = fine_positions(index);
    kith_status status = fine ? KITH_OK : no_memory(error);
    ki_segment_find_damage(index->segment, KI_PART_ID_ORDER, note_damage, &disordered);
    const int known = !disordered && alive->rows == index->view.rows;
    for (uint64_t place = 0; status == KITH_OK && place < index->view.rows; place++) {
        const uint64_t position = disordered ? place : index->id_order[place];
        if (position >= index->view.rows || !ki_bits_get(fine, position)) continue;
        if (!known || ki_bits_get(alive, place)) status = save_position(repair, index, spec, position, version, error);
    }
    ki_bits_release(fine);
    return status;
}

/* Of one damaged segment: each index that can be opened. */
static kith_status save_segment(struct repair *repair, const struct old_segment *segment, kith_error *error) {
    ki_body body;
    ki_bits *alive = NULL;
    if (ki_body_decode(segment->body, segment->bytes, segment->number, &body, &alive, NULL) != KITH_OK) return KITH_OK;
    kith_status status = KITH_OK;
    for (size_t s = 0; s < body.specs && s < repair->generations->slots && status == KITH_OK; s++) {
        const ki_vector *vector = &repair->generations->vector[s];
        kith_index *index = NULL;
        if (!body.index[s].name[0]) continue;
        char *path = ki_sealed_file(repair->segments_path, segment->number, body.index[s].name);
        if (!path || !ki_array_reserve((void **)&repair->opened, &repair->opened_room, repair->opened_count + 1,
                                       sizeof(*repair->opened))) {
            free(path);
            status = no_memory(error);
            break;
        }
        const kith_status opening = kith_index_open(path, NULL, &index, NULL);
        free(path);
        if (opening != KITH_OK) continue;
        repair->opened[repair->opened_count++] = index;
        if (index->view.originals && index->view.dim == vector->dim && index->view.dtype == vector->dtype)
            status = save_index(repair, alive, body.version, index, s, error);
    }
    ki_bits_release(alive);
    return status;
}

/* Newer segments first: of a key that is in two, the first row that is found stays. */
static kith_status save_all(struct repair *repair, kith_error *error) {
    kith_status status = KITH_OK;
    for (size_t i = repair->segments; i-- > 0 && status == KITH_OK;)
        if (!repair->segment[i].sealed) status = save_segment(repair, &repair->segment[i], error);
    return status;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

/* One saved row into a body, and its item under the new version. */
static kith_status put_row(struct repair *repair, const struct saved_row *row, ki_log_body *body, ki_found *found,
                           kith_error *error) {
    kith_status status = ki_catalog_get_item(repair->catalog, row->key, found, error);
    if (status == KITH_E_NOTFOUND) return KITH_OK; /* it was removed */
    if (status != KITH_OK || in_log(repair, &found->item)) return status;
    ki_log_operation operation = {.kind = KI_LOG_PUT,
                                  .key = row->key,
                                  .expires_ms = found->item.expires_ms,
                                  .text = found->item.text,
                                  .payload = found->item.payload};
    memcpy(operation.vector, row->vector, sizeof(operation.vector));
    status = ki_log_add(body, &operation, error);
    if (status != KITH_OK) return status;
    ki_catalog_item item = found->item;
    item.version = repair->state.version;
    return ki_catalog_put_item(repair->catalog, &item, error);
}

enum { ROWS_A_BODY = 4096 };

static kith_status put_saved(struct repair *repair, kith_error *error) {
    ki_log_body body = {.generations = repair->generations};
    ki_found found = {0};
    kith_status status = KITH_OK;
    for (size_t at = 0; at < repair->saved_count && status == KITH_OK;) {
        const size_t end = ki_min_size(at + ROWS_A_BODY, repair->saved_count);
        status = ki_log_begin(&body, ++repair->state.version, error);
        for (; at < end && status == KITH_OK; at++) status = put_row(repair, &repair->saved[at], &body, &found, error);
        if (status == KITH_OK) status = ki_log_end(&body, repair->state.next_key, error);
        if (status == KITH_OK && body.operations)
            status = ki_catalog_append_log(repair->catalog, repair->state.version,
                                           (ki_bytes){.data = body.data, .bytes = body.bytes}, error);
    }
    ki_found_free(&found);
    ki_log_free(&body);
    return status;
}

/* Of what is lost the log may have older rows. */
static kith_status put_lost(struct repair *repair, const uint64_t *key, size_t count, kith_error *error) {
    ki_log_body body = {.generations = repair->generations};
    kith_status status = KITH_OK;
    for (size_t at = 0; at < count && status == KITH_OK;) {
        const size_t end = ki_min_size(at + ROWS_A_BODY, count);
        status = ki_log_begin(&body, ++repair->state.version, error);
        for (; at < end && status == KITH_OK; at++)
            if (logged_version(repair, key[at]))
                status = ki_log_add(&body, &(ki_log_operation){.kind = KI_LOG_REMOVE, .key = key[at]}, error);
        if (status == KITH_OK) status = ki_log_end(&body, repair->state.next_key, error);
        if (status == KITH_OK && body.operations)
            status = ki_catalog_append_log(repair->catalog, repair->state.version,
                                           (ki_bytes){.data = body.data, .bytes = body.bytes}, error);
    }
    ki_log_free(&body);
    return status;
}

static kith_status put_state(struct repair *repair, kith_error *error) {
    unsigned char bytes[KI_STATE_BYTES];
    repair->state.edition++;
    ki_state_encode(&repair->state, bytes);
    return ki_catalog_put_setting(repair->catalog, KI_SETTING_STATE, (ki_bytes){.data = bytes, .bytes = sizeof(bytes)},
                                  error);
}

/* ---- What is lost ------------------------------------------------------------------------------------------------ */

struct loss {
    struct repair *repair;
    uint64_t *key; /* of items that are gone */
    size_t count, room;
};

static int compare_saved(const void *key, const void *row) {
    const uint64_t x = *(const uint64_t *)key, y = ((const struct saved_row *)row)->key;
    return (x > y) - (x < y);
}

/* A ki_catalog_item_fn. */
static kith_status look_for(void *context, const ki_catalog_item *item, kith_error *error) {
    struct loss *loss = context;
    struct repair *repair = loss->repair;
    if (in_log(repair, item) || lives_in_whole(repair, item->key) ||
        (repair->saved_count &&
         bsearch(&item->key, repair->saved, repair->saved_count, sizeof(*repair->saved), compare_saved))) {
        repair->report.items++;
        return KITH_OK;
    }
    if (!ki_array_reserve((void **)&loss->key, &loss->room, loss->count + 1, sizeof(uint64_t))) return no_memory(error);
    loss->key[loss->count++] = item->key;
    if (repair->lost)
        repair->lost(repair->lost_context, item->key, item->text.data, item->text.bytes,
                     "its row lay in a part of a segment that is damaged");
    return KITH_OK;
}

static kith_status change(struct repair *repair, const struct loss *loss, kith_error *error) {
    kith_status status = ki_catalog_begin(repair->catalog, error);
    if (status != KITH_OK) return status;
    for (size_t i = 0; i < repair->segments && status == KITH_OK; i++)
        if (!repair->segment[i].sealed)
            status = ki_catalog_remove_segment(repair->catalog, repair->segment[i].number, error);
    for (size_t i = 0; i < loss->count && status == KITH_OK; i++)
        status = ki_catalog_remove_item(repair->catalog, loss->key[i], error);
    if (status == KITH_OK) status = put_saved(repair, error);
    if (status == KITH_OK) status = put_lost(repair, loss->key, loss->count, error);
    if (status == KITH_OK) status = put_state(repair, error);
    if (status == KITH_OK) return ki_catalog_commit(repair->catalog, error);
    ki_catalog_rollback(repair->catalog);
    return status;
}

static kith_status mend(struct repair *repair, kith_error *error) {
    struct loss loss = {.repair = repair};
    kith_status status = ki_catalog_scan_items(repair->catalog, 0, look_for, &loss, error);
    repair->report.lost = loss.count;
    if (status == KITH_OK && (loss.count || repair->report.segments)) status = change(repair, &loss, error);
    free(loss.key);
    return status;
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status open_catalog(struct repair *repair, kith_error *error) {
    const ki_catalog_options options = {0};
    char *path = ki_home_path(repair->path, KI_HOME_CATALOG);
    repair->segments_path = ki_home_path(repair->path, KI_HOME_SEGMENTS);
    kith_status status =
        path && repair->segments_path ? ki_lock_take(repair->path, &repair->lock_fd, error) : no_memory(error);
    if (status == KITH_OK) status = ki_catalog_open_sqlite(path, &options, &repair->catalog, error);
    free(path);
    return status;
}

static void end(struct repair *repair) {
    for (size_t i = 0; i < repair->segments; i++) {
        ki_sealed_release(repair->segment[i].sealed);
        ki_bits_release(repair->segment[i].alive);
        free(repair->segment[i].body);
    }
    for (size_t i = 0; i < repair->opened_count; i++) kith_index_close(repair->opened[i]);
    ki_catalog_close(repair->catalog);
    ki_lock_release(repair->lock_fd);
    free(repair->generations);
    ki_made_free(&repair->made);
    free(repair->segment);
    free(repair->logged);
    free(repair->opened);
    free(repair->saved);
    free(repair->segments_path);
}

kith_status kith_collection_repair(const char *path, kith_lost_fn lost, void *lost_context, kith_progress_fn progress,
                                   void *progress_context, kith_repair_report *report, kith_error *error) {
    struct repair repair = {.path = path,
                            .lock_fd = -1,
                            .lost = lost,
                            .lost_context = lost_context,
                            .progress = progress,
                            .progress_context = progress_context};
    repair.report = (kith_repair_report)KITH_REPAIR_REPORT_INIT;
    if (!path) return ki_fail(error, KITH_E_ARG, "kith_collection_repair: path is NULL");
    kith_status status = ki_grown_check(KI_GROWN_REPAIR_REPORT, report, error);
    if (status == KITH_OK) status = open_catalog(&repair, error);
    if (status == KITH_OK) status = read_catalog(&repair, error);
    if (status == KITH_OK) status = check_segments(&repair, error);
    if (status == KITH_OK) status = save_all(&repair, error);
    if (status == KITH_OK) status = mend(&repair, error);
    if (status == KITH_OK) ki_grown_write(KI_GROWN_REPAIR_REPORT, &repair.report, report);
    end(&repair);
    return status;
}
