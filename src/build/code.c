/* SPDX-License-Identifier: Apache-2.0
 *
 * Coding lists: runs of whole lists, and parts of those that are longer than a run, are read in list order, coded, and
 * written to their place. Inside a run's part of a list the order is that of coding errors, which is the final one. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "build/build.h"

#include <stdlib.h>
#include <string.h>

enum { SUPER_HEAD = 64 /* the table of supers ends at a multiple of this */ };

/* ---- What is known before ---------------------------------------------------------------------------------------- */

static kith_status put_table(ki_build *b) {
    const ki_build_lists *lists = &b->lists;
    uint64_t *table = ki_alloc_array(lists->count, 2 * sizeof(uint64_t)), position = 0;
    if (!table) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for %zu lists", lists->count);
    for (size_t l = 0; l < lists->count; l++) {
        table[2 * l] = position;
        table[2 * l + 1] = lists->rows_of[l];
        position += lists->rows_of[l];
    }
    const kith_status status =
        ki_segment_put(b->writer, KI_PART_LISTS, 0, table, lists->count * 2 * sizeof(uint64_t), b->error);
    free(table);
    return status;
}

static uint64_t super_head_bytes(size_t supers) {
    return ki_round_up((supers + 1) * sizeof(uint32_t), SUPER_HEAD);
}

uint64_t ki_build_super_bytes(const ki_build *b) {
    const ki_kmeans *kmeans = &b->lists.kmeans;
    return kmeans->supers ? super_head_bytes(kmeans->supers) + kmeans->supers * kmeans->dim * sizeof(float) : 0;
}

static kith_status put_supers(ki_build *b) {
    const ki_kmeans *kmeans = &b->lists.kmeans;
    const uint64_t head = super_head_bytes(kmeans->supers);
    if (!kmeans->supers) return KITH_OK;
    const uint32_t count = (uint32_t)kmeans->supers;
    kith_status status = ki_segment_put(b->writer, KI_PART_SUPERS, 0, &count, sizeof(count), b->error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_SUPERS, sizeof(count), kmeans->super_end, count * sizeof(count),
                                b->error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_SUPERS, head, kmeans->super_centroids,
                                kmeans->supers * kmeans->dim * sizeof(float), b->error);
    return status;
}

static kith_status put_coarse(ki_build *b, ki_segment_head *head) {
    ki_coarse coarse;
    if (!ki_coarse_create(&b->recipe, &coarse))
        return ki_fail(b->error, KITH_E_NOMEM, "out of memory for the codes of %zu lists", b->lists.count);
    kith_status status = ki_segment_put(b->writer, KI_PART_COARSE_CODES, 0, coarse.codes,
                                        coarse.blocks * ki_recipe_block_bytes(&b->recipe, 0), b->error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_COARSE_FACTORS, 0, coarse.factors,
                                coarse.blocks * KI_FACTORS * sizeof(float), b->error);
    if (status == KITH_OK && coarse.first_codes)
        status = ki_segment_put(b->writer, KI_PART_COARSE_FIRST_CODES, 0, coarse.first_codes,
                                coarse.blocks * ki_recipe_block_bytes(&b->recipe, 1), b->error);
    if (status == KITH_OK && coarse.first_codes)
        status = ki_segment_put(b->writer, KI_PART_COARSE_FIRST_FACTORS, 0, coarse.first_factors,
                                coarse.blocks * KI_FACTORS * sizeof(float), b->error);
    head->parameter[1] = coarse.spread;
    head->parameter[2] = coarse.norm;
    ki_coarse_free(&coarse);
    return status;
}

kith_status ki_build_put_lists(ki_build *b, ki_segment_head *head) {
    const ki_recipe *r = &b->recipe;
    const uint64_t row = r->dim * sizeof(float);
    kith_status status = put_table(b);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_CENTROIDS, 0, r->centroids, r->lists * row, b->error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_CENTROIDS, r->lists * row, r->centre, row, b->error);
    if (status == KITH_OK) status = put_coarse(b, head);
    if (status == KITH_OK) status = put_supers(b);
    if (status == KITH_OK && r->second)
        status = ki_segment_put(b->writer, KI_PART_SECOND_MODEL, 0, b->lists.model, b->lists.model_bytes, b->error);
    return status;
}

/* ---- Runs of lists ----------------------------------------------------------------------------------------------- */

int ki_build_take_lists(ki_build *b, const uint32_t *rows_of, ki_run *run, uint64_t *block, uint64_t *position) {
    ki_list_walk *walk = &b->lists.walk;
    const size_t most_blocks = run->capacity / KI_BLOCK;
    size_t blocks = 0;
    pthread_mutex_lock(&b->reading);
    *block = walk->block;
    *position = walk->position;
    run->count = run->piece_count = 0;
    for (; walk->list < b->lists.count; walk->list++, walk->in_list = 0) {
        const size_t left = rows_of[walk->list] - walk->in_list;
        const size_t needed = (left + KI_BLOCK - 1) / KI_BLOCK;
        if (left == 0) continue;
        if (blocks && blocks + needed > most_blocks) break;
        const size_t taken = ki_min_size(left, most_blocks * KI_BLOCK);
        run->pieces[run->piece_count++] = (ki_run_piece){(uint32_t)walk->list, (uint32_t)taken, 0};
        run->count += taken;
        blocks += (taken + KI_BLOCK - 1) / KI_BLOCK;
        if (taken == left) continue;
        walk->in_list += (uint32_t)taken;
        break;
    }
    walk->block += blocks;
    walk->position += run->count;
    pthread_mutex_unlock(&b->reading);
    return run->count != 0;
}

static kith_status fetch_rows(ki_build *b, ki_run *run, uint64_t position, kith_error *error) {
    const size_t row_bytes = b->recipe.row_bytes;
    const uint32_t *row_at = b->labels.row_at + position;
    if (!b->lists.all) return ki_build_get_draft(b, position, run->rows, run->count, error);
    for (size_t i = 0; i < run->count; i++)
        memcpy(run->rows + i * row_bytes, b->lists.all + row_at[i] * row_bytes, row_bytes);
    return KITH_OK;
}

static void keep_radii(ki_build *b, const ki_run *run) {
    pthread_mutex_lock(&b->reading);
    for (size_t p = 0; p < run->piece_count; p++) {
        float *radius = &b->lists.radius[run->pieces[p].list];
        if (run->pieces[p].radius > *radius) *radius = run->pieces[p].radius;
    }
    pthread_mutex_unlock(&b->reading);
}

static kith_status code_run(ki_build *b, ki_run *run, uint64_t block, uint64_t position, uint32_t *room,
                            kith_error *error) {
    const uint64_t start = ki_now_ns();
    size_t bad = 0;
    kith_status status = fetch_rows(b, run, position, error);
    const uint64_t fetched = ki_now_ns();
    atomic_fetch_add(&b->read_ns, fetched - start);
    if (status != KITH_OK) return status;
    const ki_row_fault fault = ki_run_code(&b->recipe, run, &bad);
    atomic_fetch_add(&b->code_ns, ki_now_ns() - fetched);
    if (fault != KI_ROW_FINE) return ki_build_explain(b, fault, b->labels.row_at[position + bad], error);
    keep_radii(b, run);
    status = ki_build_put_run(b, run, block, position, error);
    ki_id_table_move(&b->labels, position, run->order, run->count, room);
    atomic_fetch_add(&b->rows_done, run->count);
    return status;
}

static void work(void *context, size_t piece, unsigned number) {
    ki_build *b = context;
    ki_run run = {0};
    kith_error error = {0};
    kith_status status = KITH_OK;
    uint64_t block, position = 0;
    (void)piece;
    uint32_t *room = ki_alloc_array(b->run_rows, sizeof(*room));
    if (!room || !ki_run_create(&b->recipe, b->run_rows, &run))
        status = ki_fail(&error, KITH_E_NOMEM, "out of memory for runs of %zu rows", b->run_rows);
    while (status == KITH_OK && !atomic_load(&b->stop) &&
           ki_build_take_lists(b, b->lists.rows_of, &run, &block, &position)) {
        status = code_run(b, &run, block, position, room, &error);
        if (number == 0) ki_build_tell(b, "coding", atomic_load(&b->rows_done), b->source.rows);
    }
    if (status != KITH_OK) ki_build_fail(b, status, position, KI_ROW_FINE, &error);
    ki_build_add_errors(b, &run);
    ki_run_free(&run);
    free(room);
}

kith_status ki_build_code_lists(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    lists->walk = (ki_list_walk){0};
    ki_build_plan_runs(b, ki_run_bytes_per_row(&b->recipe) + sizeof(uint32_t));
    const kith_status status = ki_build_run_workers(b, work, 0);
    if (status != KITH_OK) return status;
    return ki_segment_put(b->writer, KI_PART_LIST_BOUNDS, 0, lists->radius, lists->count * sizeof(float), b->error);
}
