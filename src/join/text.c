/* SPDX-License-Identifier: Apache-2.0
 *
 * NDJSON: a line a query. Numbers take longer to print than to find, so pieces of a batch are printed by all threads,
 * then appended in their order. */
#include "join/join.h"

#include "base/checked.h"
#include "base/pool.h"
#include "base/status.h"
#include "base/utf8.h"
#include "io/json.h"
#include "io/number.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { PIECE_RESULTS = 4096, PIECES_A_THREAD = 4 };

/* The lines of one piece. */
struct lines {
    void *text;
    size_t capacity, used;
};

struct print {
    const ki_join_output *output;
    struct lines *lines;
    size_t first, rows; /* of the batch: piece 0 begins at first, each has `rows` */
    atomic_int failed;
};

/* ---- One line ---------------------------------------------------------------------------------------------------- */

static int put(struct lines *lines, const char *text, size_t bytes) {
    if (!ki_array_reserve(&lines->text, &lines->capacity, (uint64_t)lines->used + bytes, 1)) return 0;
    memcpy((char *)lines->text + lines->used, text, bytes);
    lines->used += bytes;
    return 1;
}

static int put_number(struct lines *lines, uint64_t number) {
    char text[24], *at = text + sizeof(text);
    do *--at = (char)('0' + number % 10);
    while (number /= 10);
    return put(lines, at, (size_t)(text + sizeof(text) - at));
}

static int put_string(struct lines *lines, const char *text, size_t bytes) {
    int fine = put(lines, "\"", 1);
    for (size_t i = 0; i < bytes && fine; i++) {
        char escaped[KI_JSON_ESCAPED];
        const size_t length = ki_json_escape(text[i], escaped);
        fine = put(lines, escaped, length);
    }
    return fine && put(lines, "\"", 1);
}

/* JSON has no infinity. */
static int put_float(struct lines *lines, float value) {
    char text[KI_FLOAT_TEXT];
    if (value == 0) value = 0; /* a negative zero, as products have, is printed as zero */
    return isfinite(value) ? put(lines, text, ki_print_float(value, text)) : put(lines, "null", 4);
}

static kith_status put_stored_id(const kith_index *index, struct lines *lines, uint64_t id) {
    const char *text;
    size_t bytes;
    if (index->id_kind != KITH_ID_STRING) return put_number(lines, id) ? KITH_OK : KITH_E_NOMEM;
    if (kith_index_string_id(index, id, &text, &bytes) != KITH_OK || !ki_utf8_valid(text, bytes)) return KITH_E_CORRUPT;
    return put_string(lines, text, bytes) ? KITH_OK : KITH_E_NOMEM;
}

static kith_status put_query_id(const ki_join_source *source, struct lines *lines, size_t row) {
    const ki_join_request *request = source->request;
    if (!request->queries) return put_stored_id(request->index, lines, source->ids[row]);
    if (request->id_kind != KITH_ID_STRING)
        return put_number(lines, source->ids ? source->ids[row] : source->first + row) ? KITH_OK : KITH_E_NOMEM;
    const uint32_t begin = row ? source->labels.ends[row - 1] : 0, end = source->labels.ends[row];
    return put_string(lines, source->labels.bytes + begin, end - begin) ? KITH_OK : KITH_E_NOMEM;
}

static kith_status put_line(const ki_join_output *output, struct lines *lines, size_t row) {
    const size_t k = output->request->options.k;
    const uint64_t *ids = output->ids + row * k;
    const float *distances = output->distances + row * k;
    size_t found = 0;
    while (found < k && ids[found] != KITH_ID_NONE) found++;
    if (!put(lines, "{\"id\": ", 7)) return KITH_E_NOMEM;
    kith_status status = put_query_id(output->source, lines, row);
    int fine = put(lines, ", \"ids\": [", 10);
    for (size_t i = 0; i < found && status == KITH_OK && fine; i++) {
        if (i) fine = put(lines, ", ", 2);
        if (fine) status = put_stored_id(output->request->index, lines, ids[i]);
    }
    fine = fine && put(lines, "], \"distances\": [", 17);
    for (size_t i = 0; i < found && fine; i++) fine = (!i || put(lines, ", ", 2)) && put_float(lines, distances[i]);
    fine = fine && put(lines, "]}\n", 3);
    return status == KITH_OK && !fine ? KITH_E_NOMEM : status;
}

/* ---- A batch ----------------------------------------------------------------------------------------------------- */

static void print_piece(void *context, size_t piece, unsigned worker) {
    struct print *p = context;
    struct lines *lines = p->lines + piece;
    const size_t begin = p->first + piece * p->rows, end = ki_min_size(p->output->source->count, begin + p->rows);
    (void)worker;
    lines->used = 0;
    for (size_t i = begin; i < end && !atomic_load(&p->failed); i++) {
        const kith_status status = put_line(p->output, lines, i);
        int none = 0; /* the first failure stays */
        if (status != KITH_OK) atomic_compare_exchange_strong(&p->failed, &none, (int)status);
    }
}

static kith_status fail_print(const ki_join_output *output, kith_status status, kith_error *error) {
    if (status != KITH_E_CORRUPT) return ki_fail(error, status, "out of memory for the lines of a batch");
    return ki_fail(error, status, "%s: section 'string_ends' or 'string_bytes' does not hold the ids",
                   ki_segment_path(output->request->index->segment));
}

static kith_status take_lines(ki_join_output *output, size_t count, kith_error *error) {
    if (output->work) return KITH_OK;
    output->work = ki_alloc_array_zeroed(count, sizeof(struct lines));
    if (!output->work || !ki_numbers_ready()) return ki_fail(error, KITH_E_NOMEM, "out of memory for lines");
    output->work_count = count;
    return KITH_OK;
}

kith_status ki_join_text_write(ki_join_output *output, uint64_t *bytes, kith_error *error) {
    const size_t k = output->request->options.k, pieces = PIECES_A_THREAD * (size_t)ki_pool_threads(output->pool);
    kith_status status = take_lines(output, pieces, error);
    struct print p = {.output = output, .lines = output->work, .rows = k < PIECE_RESULTS ? PIECE_RESULTS / k : 1};
    atomic_init(&p.failed, KITH_OK);
    for (; p.first < output->source->count && status == KITH_OK; p.first += pieces * p.rows) {
        ki_pool_run(output->pool, pieces, print_piece, &p);
        const int failed = atomic_load(&p.failed);
        if (failed) return fail_print(output, (kith_status)failed, error);
        for (size_t i = 0; i < pieces && status == KITH_OK; i++) {
            status = ki_outfile_write_at(&output->files->part[0], p.lines[i].text, p.lines[i].used, *bytes, error);
            if (status == KITH_OK) *bytes += p.lines[i].used;
        }
    }
    return status;
}

void ki_join_output_end(ki_join_output *output) {
    struct lines *lines = output->work;
    for (size_t i = 0; i < output->work_count; i++) free(lines[i].text);
    free(lines);
    output->work = NULL;
    output->work_count = 0;
}
