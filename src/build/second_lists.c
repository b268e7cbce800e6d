/* SPDX-License-Identifier: Apache-2.0
 *
 * Coding second lists, when positions are final: like the lists themselves, run by run, but the rows of a run come from
 * all over. */
#include "base/checked.h"
#include "base/clock.h"
#include "base/status.h"
#include "build/build.h"

#include <string.h>

/* Rows by their second list. */
static kith_status group_rows(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    const uint64_t rows = b->source.rows;
    uint32_t *next = ki_alloc_array(lists->count, sizeof(uint32_t)), at = 0;
    lists->by_second_list = ki_alloc_array(lists->second_list_rows, sizeof(uint32_t));
    if (!next || !lists->by_second_list) {
        free(next);
        return ki_fail(b->error, KITH_E_NOMEM, "out of memory for %zu lists", lists->count);
    }
    for (size_t l = 0; l < lists->count; l++) {
        next[l] = at;
        at += lists->second_list_counts[l];
    }
    for (uint64_t row = 0; row < rows; row++)
        if (lists->second_list_of[row] != UINT32_MAX)
            lists->by_second_list[next[lists->second_list_of[row]]++] = (uint32_t)row;
    free(next);
    return KITH_OK;
}

static kith_status fetch_rows(ki_build *b, ki_run *run, uint64_t first, kith_error *error) {
    const size_t row_bytes = b->recipe.row_bytes;
    for (size_t i = 0; i < run->count; i++) {
        const uint32_t row = b->lists.by_second_list[first + i];
        uint8_t *to = run->rows + i * row_bytes;
        if (b->lists.all) {
            memcpy(to, b->lists.all + row * row_bytes, row_bytes);
            continue;
        }
        const kith_status status = ki_segment_get(
            b->writer, KI_PART_ORIGINALS, b->labels.position_of[row] * (uint64_t)row_bytes, to, row_bytes, error);
        if (status != KITH_OK) return status;
    }
    return KITH_OK;
}

static void fill_entries(const ki_build *b, const ki_run *run, uint64_t first, ki_second_entry *entries) {
    for (size_t i = 0; i < run->count; i++) {
        const uint32_t row = b->lists.by_second_list[first + run->order[i]];
        entries[i] = (ki_second_entry){b->labels.position_of[row], b->lists.list_of[row]};
    }
}

static kith_status put_run(ki_build *b, const ki_run *run, uint64_t block, uint64_t first,
                           const ki_second_entry *entries, kith_error *error) {
    const int level = b->recipe.level1_columns != 0;
    const uint64_t block_bytes = ki_recipe_block_bytes(&b->recipe, level), factor_bytes = KI_FACTORS * sizeof(float);
    kith_status status = ki_segment_put(b->writer, KI_PART_SECOND_LIST_ENTRIES, first * sizeof(*entries), entries,
                                        run->count * sizeof(*entries), error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_SECOND_LIST_CODES, block * block_bytes, run->codes[level],
                                run->blocks * block_bytes, error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_SECOND_LIST_FACTORS, block * factor_bytes, run->factors[level],
                                run->blocks * factor_bytes, error);
    return status;
}

static kith_status code_run(ki_build *b, const ki_recipe *recipe, ki_run *run, uint64_t block, uint64_t first,
                            ki_second_entry *entries, kith_error *error) {
    const uint64_t start = ki_now_ns();
    size_t bad = 0;
    kith_status status = fetch_rows(b, run, first, error);
    const uint64_t fetched = ki_now_ns();
    atomic_fetch_add(&b->read_ns, fetched - start);
    if (status != KITH_OK) return status;
    const ki_row_fault fault = ki_run_code(recipe, run, &bad);
    const uint64_t coded = ki_now_ns();
    atomic_fetch_add(&b->code_ns, coded - fetched);
    if (fault != KI_ROW_FINE) return ki_build_explain(b, fault, b->lists.by_second_list[first + bad], error);
    fill_entries(b, run, first, entries);
    status = put_run(b, run, block, first, entries, error);
    atomic_fetch_add(&b->write_ns, ki_now_ns() - coded);
    atomic_fetch_add(&b->rows_done, run->count);
    return status;
}

static void work(void *context, size_t piece, unsigned number) {
    ki_build *b = context;
    ki_recipe recipe = b->recipe;
    ki_run run = {0};
    kith_error error = {0};
    kith_status status = KITH_OK;
    uint64_t block, first = 0;
    (void)piece;
    recipe.second = NULL;
    ki_second_entry *entries = ki_alloc_array(b->run_rows, sizeof(*entries));
    if (!entries || !ki_run_create(&recipe, b->run_rows, &run))
        status = ki_fail(&error, KITH_E_NOMEM, "out of memory for runs of %zu rows", b->run_rows);
    while (status == KITH_OK && !atomic_load(&b->stop) &&
           ki_build_take_lists(b, b->lists.second_list_counts, &run, &block, &first)) {
        status = code_run(b, &recipe, &run, block, first, entries, &error);
        if (number == 0) ki_build_tell(b, "coding", atomic_load(&b->rows_done), b->lists.second_list_rows);
    }
    if (status != KITH_OK) ki_build_fail(b, status, first, KI_ROW_FINE, &error);
    ki_run_free(&run);
    free(entries);
}

kith_status ki_build_code_second_lists(ki_build *b) {
    ki_build_lists *lists = &b->lists;
    if (!lists->second_list_rows) return KITH_OK;
    kith_status status = group_rows(b);
    if (status != KITH_OK) return status;
    status = ki_segment_put(b->writer, KI_PART_SECOND_LIST_COUNTS, 0, lists->second_list_counts,
                            lists->count * sizeof(uint32_t), b->error);
    if (status != KITH_OK) return status;
    lists->walk = (ki_list_walk){0};
    ki_build_plan_runs(b, ki_run_bytes_per_row(&b->recipe) + sizeof(ki_second_entry));
    return ki_build_run_workers(b, work, 0);
}
