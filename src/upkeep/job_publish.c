/* SPDX-License-Identifier: Apache-2.0
 *
 * How a new segment takes the place of what it was made of: one edit and one transaction of the catalog.
 *
 * What writers wait for is short: the last deaths are carried over (those before were, without the lock), bodies are
 * encoded from bits, and the catalog commits. When heads go, the log goes that holds their rows, soon: so every segment
 * whose dead rows are more than the catalog has of it is put again, because some of those deaths were in that log. So
 * is what gave rows to the new segment: each row lives in one place at any time, after a crash too.
 *
 * Under `writing`, which these functions take. */
#include "base/checked.h"
#include "base/status.h"
#include "write/bodies.h"
#include "log/measured.h"
#include "upkeep/seal.h"
#include "write/commit.h"

#include <string.h>

/* Rounds of carrying over before the lock is taken, while there are so many deaths. A guess: a death costs some tenths
 * of a microsecond. */
enum { ROUNDS = 4, DEATHS_FEW = 2000 };

/* ---- Deaths ------------------------------------------------------------------------------------------------------ */

ki_bits *ki_job_alive(const ki_snapshot *state, const ki_origin *origin) {
    for (size_t i = 0; i < state->sealed_count && origin->sealed; i++)
        if (state->sealed[i].sealed == origin->sealed) return state->sealed[i].alive;
    for (size_t i = 0; i < state->head_count && origin->head; i++)
        if (state->head[i].head == origin->head) return state->head[i].live;
    return NULL;
}

static void bury_row(ki_job *job, const ki_origin *origin, uint32_t row) {
    uint32_t made;
    const uint64_t key = origin->head ? ki_head_key(origin->head, row) : ki_table_keys(origin->sealed->table)[row];
    if (ki_table_find(job->sealed->table, key, &made)) ki_bits_clear(job->alive, made);
}

/* Rows that lived when the job looked last and do not now are dead in the new segment; returns how many. */
static uint64_t carry_origin(ki_job *job, ki_origin *origin, ki_bits *now) {
    uint64_t deaths = 0;
    if (now == origin->alive) return 0;
    for (uint64_t w = 0; w * 64 < origin->alive->rows; w++)
        for (uint64_t gone = origin->alive->word[w] & ~(now ? now->word[w] : 0); gone; gone &= gone - 1, deaths++)
            bury_row(job, origin, (uint32_t)(w * 64 + (unsigned)__builtin_ctzll(gone)));
    if (now) {
        ki_bits_release(origin->alive);
        origin->alive = ki_bits_hold(now);
    }
    return deaths;
}

static uint64_t carry(ki_job *job, const ki_snapshot *state) {
    uint64_t deaths = 0;
    for (size_t o = 0; o < job->origins && job->sealed; o++)
        deaths += carry_origin(job, &job->origin[o], ki_job_alive(state, &job->origin[o]));
    return deaths;
}

static void catch_up(ki_job *job) {
    for (int round = 0; round < ROUNDS; round++) {
        ki_snapshot *now = ki_snapshot_pin(job->collection);
        const uint64_t deaths = carry(job, now);
        ki_snapshot_release(now);
        if (deaths < DEATHS_FEW) return;
    }
}

/* ---- What the catalog is told ------------------------------------------------------------------------------------ */

struct change {
    const ki_job *job;
    const ki_head *left; /* the oldest head that stays; NULL: no head goes, and the log stays */
    ki_bodies bodies;
};

static kith_status remove_segment(kith_collection *collection, const ki_sealed *sealed, kith_error *error) {
    const kith_status status = ki_catalog_remove_segment(collection->catalog, sealed->number, error);
    return status == KITH_OK ? ki_measured_remove(collection, sealed, error) : status;
}

static kith_status put(kith_collection *collection, void *context, kith_error *error) {
    const struct change *change = context;
    const ki_job *job = change->job;
    kith_status status = KITH_OK;
    for (size_t o = 0; o < job->origins && status == KITH_OK; o++)
        if (job->origin[o].sealed && !job->origin[o].taken)
            status = remove_segment(collection, job->origin[o].sealed, error);
    if (status == KITH_OK) status = ki_bodies_put(&change->bodies, collection->catalog, error);
    /* What is known of plans beside the file (calibrate.h). */
    return status == KITH_OK && job->sealed && job->alive->set ? ki_measured_put(collection, job->sealed, error)
                                                               : status;
}

/* ---- The log ----------------------------------------------------------------------------------------------------- */

/* What the new segment holds is dropped from the log piece by piece, from the oldest on, since the catalog looks at
 * each page that becomes free (some 3 us) and writers wait. In between, and after a crash then, the log holds more than
 * it must: replaying that changes nothing (C3). */
enum { PIECE_BYTES = 2 << 20 };

struct pieces {
    uint64_t version; /* the last to be dropped */
    uint64_t bytes, last;
    uint64_t *end;
    size_t count, capacity;
};

static kith_status end_piece(struct pieces *pieces, kith_error *error) {
    void *end = pieces->end;
    if (!ki_array_reserve(&end, &pieces->capacity, pieces->count + 1, sizeof(*pieces->end)))
        return ki_fail(error, KITH_E_NOMEM, "out of memory for sealing");
    pieces->end = end;
    pieces->end[pieces->count++] = pieces->last;
    pieces->bytes = 0;
    return KITH_OK;
}

static kith_status note_piece(void *context, uint64_t number, ki_bytes body, kith_error *error) {
    struct pieces *pieces = context;
    kith_status status = KITH_OK;
    if (number > pieces->version) return KITH_E_CANCELLED; /* enough; never seen outside */
    if (pieces->bytes && pieces->bytes + body.bytes > PIECE_BYTES) status = end_piece(pieces, error);
    pieces->bytes += body.bytes + 1;
    pieces->last = number;
    return status;
}

static kith_status put_drop(kith_collection *collection, void *context, kith_error *error) {
    const uint64_t *version = context;
    return ki_catalog_drop_log(collection->catalog, *version, error);
}

static kith_status drop_piece(kith_collection *collection, uint64_t version, kith_error *error) {
    ki_edit *edit = NULL;
    pthread_mutex_lock(&collection->writing);
    kith_status status = ki_edit_begin(collection, &edit, error);
    if (status == KITH_OK) status = ki_commit_edit(collection, edit, put_drop, &version, error);
    pthread_mutex_unlock(&collection->writing);
    return status;
}

static kith_status drop_log(kith_collection *collection, uint64_t version, kith_error *error) {
    struct pieces pieces = {.version = version};
    kith_status status = ki_catalog_scan_log(collection->catalog, 0, note_piece, &pieces, error);
    if (status == KITH_E_CANCELLED) status = KITH_OK;
    if (status == KITH_OK && pieces.bytes) status = end_piece(&pieces, error);
    for (size_t p = 0; p < pieces.count && status == KITH_OK; p++)
        status = drop_piece(collection, pieces.end[p], error);
    free(pieces.end);
    return status;
}

/* ---- The edit ---------------------------------------------------------------------------------------------------- */

uint64_t ki_job_take_number(kith_collection *collection) {
    pthread_mutex_lock(&collection->writing);
    const uint64_t number = collection->next_segment++;
    pthread_mutex_unlock(&collection->writing);
    return number;
}

static kith_status take_out(const ki_origin *origin, ki_edit *edit, kith_error *error) {
    if (origin->head) return ki_edit_remove_head(edit, origin->head, error);
    if (!origin->taken) return ki_edit_remove_sealed(edit, origin->sealed->number, error);
    return ki_edit_take_rows(edit, origin->sealed->number, origin->taken, origin->positions, error);
}

/* Origins, or what is taken of them, out, the new segment in, if anything of it lives. */
static kith_status exchange(ki_job *job, ki_edit *edit, struct change *change, kith_error *error) {
    kith_status status = KITH_OK;
    int heads = 0;
    for (size_t o = 0; o < job->origins && status == KITH_OK; o++) {
        heads |= job->origin[o].head != NULL;
        status = take_out(&job->origin[o], edit, error);
    }
    if (status == KITH_OK && job->sealed && job->alive->set) {
        status = ki_edit_add_sealed(edit, job->sealed, ki_bits_hold(job->alive), error);
        if (status == KITH_OK) ki_edit_copy_hot(edit, job->sealed);
    }
    if (heads || !job->origins) change->left = ki_edit_state(edit)->head[0].head;
    return status;
}

/* `writing` is held. *dropped: the last version that the log need not hold any longer, if heads were sealed. */
static kith_status publish(ki_job *job, uint64_t *dropped, kith_error *error) {
    ki_edit *edit = NULL;
    struct change change = {.job = job};
    const uint64_t version = job->collection->version;
    kith_status status = ki_edit_begin(job->collection, &edit, error);
    if (status == KITH_OK) {
        carry(job, ki_edit_state(edit));
        status = exchange(job, edit, &change, error);
    }
    if (status == KITH_OK && change.left) *dropped = ki_commit_version_before(job->collection, change.left);
    /* Whose rows were taken has more dead ones, too. */
    const int deaths = change.left != NULL || (job->origins && job->origin[0].taken);
    if (status == KITH_OK)
        status = ki_bodies_encode(ki_edit_state(edit), job->sealed, deaths, version, &change.bodies, error);
    if (status == KITH_OK)
        status = ki_commit_edit(job->collection, edit, put, &change, error);
    else
        ki_edit_abandon(edit);
    if (status == KITH_OK) ki_bodies_settle(&change.bodies);
    ki_bodies_free(&change.bodies);
    return status;
}

int ki_job_may_remove(kith_collection *collection) {
    if (collection->options.durability != KITH_DURABILITY_RELAXED) return 1;
    return ki_catalog_sync(collection->catalog, NULL) == KITH_OK;
}

/* What was published, and what it replaced; the catalog names the one and not the other. */
static void settle(ki_job *job) {
    if (job->sealed && job->alive->set) job->has_folder = 0;
    const int may_remove = ki_job_may_remove(job->collection);
    for (size_t o = 0; o < job->origins; o++) {
        ki_sealed *sealed = job->origin[o].sealed;
        if (!sealed || job->origin[o].taken) continue;
        if (may_remove) atomic_store(&sealed->retired, KI_RETIRED_ALL);
        job->origin[o].sealed = NULL;
        ki_maintain_bury(job->collection, sealed);
    }
}

kith_status ki_job_publish(ki_job *job, kith_error *error) {
    kith_collection *collection = job->collection;
    uint64_t dropped = 0;
    catch_up(job);
    pthread_mutex_lock(&collection->writing);
    const kith_status status = publish(job, &dropped, error);
    if (status != KITH_OK && collection->poisoned != KITH_OK) job->has_folder = 0; /* R2 */
    pthread_mutex_unlock(&collection->writing);
    if (status != KITH_OK) return status;
    settle(job);
    return dropped ? drop_log(collection, dropped, error) : KITH_OK;
}
