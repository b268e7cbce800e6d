/* SPDX-License-Identifier: Apache-2.0
 *
 * Hash tables of an index: options, parts, and building them from the rows as they lie in the file under
 * construction. */
#include "base/checked.h"
#include "base/status.h"
#include "build/build.h"

#include <stdlib.h>

kith_status ki_build_check_lsh(ki_build *b) {
    const kith_build_options *o = &b->options;
    if (o->lsh_tables > KI_LSH_TABLES_MAX)
        return ki_fail(b->error, KITH_E_ARG, "%u hash tables asked for, 1 to %d are possible", o->lsh_tables,
                       KI_LSH_TABLES_MAX);
    if (o->lsh_functions > KI_LSH_FUNCTIONS_MAX)
        return ki_fail(b->error, KITH_E_ARG, "%u hash functions of a key asked for, 1 to %d are possible",
                       o->lsh_functions, KI_LSH_FUNCTIONS_MAX);
    if (o->index != KITH_INDEX_LSH) return KITH_OK;
    if (o->originals == KITH_ORIGINALS_NONE)
        return ki_fail(b->error, KITH_E_UNSUPPORTED,
                       "%s: hash tables need originals, by which what they find is scored", ki_build_path(b));
    if (!o->lists) b->options.lists = 1;
    return KITH_OK;
}

void ki_build_plan_lsh(ki_build *b, ki_part_plan *plan, size_t *n) {
    const kith_build_options *o = &b->options;
    const ki_recipe *r = &b->recipe;
    if (o->index != KITH_INDEX_LSH) return;
    b->lsh = ki_lsh_plan(b->source.rows, r->dim, r->metric, o->lsh_tables, o->lsh_functions);
    plan[(*n)++] = (ki_part_plan){KI_PART_LSH_MODEL, b->lsh.model_bytes, b->lsh.functions};
    plan[(*n)++] = (ki_part_plan){KI_PART_LSH_TABLES, b->lsh.tables * b->lsh.table_bytes, b->lsh.tables};
}

static kith_status read_rows(void *context, uint64_t first, size_t count, void *to, kith_error *error) {
    ki_build *b = context;
    const size_t row_bytes = b->recipe.row_bytes;
    return ki_segment_get(b->writer, KI_PART_ORIGINALS, first * row_bytes, to, count * row_bytes, error);
}

static kith_status write_tables(void *context, uint64_t offset, const void *data, uint64_t bytes, kith_error *error) {
    ki_build *b = context;
    return ki_segment_put(b->writer, KI_PART_LSH_TABLES, offset, data, bytes, error);
}

kith_status ki_build_lsh(ki_build *b) {
    const ki_recipe *r = &b->recipe;
    if (b->options.index != KITH_INDEX_LSH) return KITH_OK;
    const ki_lsh_input input = {.shape = b->lsh,
                                .rows = b->source.rows,
                                .dim = r->dim,
                                .row_bytes = r->row_bytes,
                                .dtype = r->dtype,
                                .metric = r->metric,
                                .centre = r->dtype == KITH_B1 ? NULL : r->centre,
                                .seed = b->options.seed,
                                .memory_bytes = b->options.memory_bytes / 2,
                                .pool = b->pool,
                                .read = read_rows,
                                .write = write_tables,
                                .context = b,
                                .progress = b->options.progress,
                                .progress_context = b->options.progress_context};
    void *model = ki_alloc_array(b->lsh.model_bytes, 1);
    if (!model) return ki_fail(b->error, KITH_E_NOMEM, "out of memory for the model of hash tables");
    kith_status status = ki_lsh_build(&input, model, b->error);
    if (status == KITH_OK)
        status = ki_segment_put(b->writer, KI_PART_LSH_MODEL, 0, model, b->lsh.model_bytes, b->error);
    free(model);
    return status;
}
