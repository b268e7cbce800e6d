/* SPDX-License-Identifier: Apache-2.0 */
#include "lsh/build.h"

#include "base/checked.h"
#include "base/rng.h"
#include "base/status.h"
#include "kernel/distance.h"
#include "lsh/inner.h"
#include "quant/rotate.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum { RUN_ROWS = 1024 };

/* Tables first..end under construction. */
struct making {
    const ki_lsh_input *input;
    ki_lsh lsh;
    ki_view view; /* as much of one as hashing asks for */
    size_t first, end;
    uint32_t *bucket; /* of every row, table by table */
    float *norm2;     /* ip: of each row, while the sphere is measured */
    struct place {
        ki_lsh_hasher hasher;
        uint8_t *rows;
        float *floats;
        uint32_t *sorted; /* a table */
    } * place;            /* of each worker */
    unsigned places;
    atomic_uint_fast64_t done;
    atomic_int status;
    kith_error *error;
    atomic_flag failing;
};

/* The first failure is kept. */
static void note(struct making *m, kith_status status, const kith_error *error) {
    if (status == KITH_OK || atomic_flag_test_and_set(&m->failing)) return;
    if (m->error) *m->error = *error;
    atomic_store(&m->status, (int)status);
}

/* ---- Memory ------------------------------------------------------------------------------------------------------ */

static void free_places(struct making *m) {
    for (unsigned w = 0; m->place && w < m->places; w++) {
        ki_lsh_hasher_free(&m->place[w].hasher);
        free(m->place[w].rows);
        free(m->place[w].floats);
        free(m->place[w].sorted);
    }
    free(m->place);
}

static int make_places(struct making *m) {
    const ki_lsh_input *in = m->input;
    m->places = ki_pool_threads(in->pool);
    m->place = ki_alloc_array_zeroed(m->places, sizeof(*m->place));
    for (unsigned w = 0; m->place && w < m->places; w++) {
        struct place *p = &m->place[w];
        p->rows = ki_alloc_array(RUN_ROWS, in->row_bytes);
        p->floats = ki_alloc_array(in->dim, sizeof(float));
        p->sorted = ki_alloc_array(in->shape.table_bytes, 1);
        if (!p->rows || !p->floats || !p->sorted) return 0;
    }
    return m->place != NULL;
}

/* Tables whose buckets of all rows fit beside what workers hold: 1.. */
static size_t tables_at_once(const struct making *m) {
    const uint64_t each = m->input->rows * sizeof(uint32_t), held = m->places * m->input->shape.table_bytes;
    const uint64_t left = m->input->memory_bytes > held ? m->input->memory_bytes - held : 0;
    const uint64_t fit = left / each;
    return (size_t)ki_min_u64(fit ? fit : 1, m->input->shape.tables);
}

/* ---- The model --------------------------------------------------------------------------------------------------- */

/* What the view calls a part, where it may be written. */
static void *part_of(uint8_t *model, const void *part) {
    return model + ((const uint8_t *)part - model);
}

/* Distinct bits for each table, while there are any: a bit taken twice says nothing more. */
static void draw_bits(const ki_lsh *lsh, size_t dim, ki_rng *rng, uint32_t *bit) {
    for (size_t t = 0; t < lsh->tables; t++, bit += lsh->functions)
        for (size_t f = 0; f < lsh->functions; f++) {
            size_t same = 0;
            do {
                bit[f] = (uint32_t)ki_rng_below(rng, dim);
                for (same = 0; same < f && bit[same] != bit[f]; same++) {
                }
            } while (same < f && f < dim);
        }
}

static void draw_model(struct making *m, uint8_t *model) {
    const ki_lsh_input *in = m->input;
    const ki_lsh *lsh = &m->lsh;
    ki_rng rng = {in->seed};
    uint64_t *multiplier = part_of(model, lsh->multiplier), power = 1;
    for (size_t f = 0; f < lsh->functions; f++, power *= 2 * (uint64_t)lsh->reach)
        multiplier[f] = lsh->mixed ? ki_rng_next(&rng) | 1 : power;
    if (lsh->bit) draw_bits(lsh, in->dim, &rng, part_of(model, lsh->bit));
    if (lsh->seed) {
        uint64_t *seed = part_of(model, lsh->seed);
        for (size_t t = 0; t < lsh->tables; t++) seed[t] = ki_rng_next(&rng);
    }
    if (!lsh->centre) return;
    memcpy(part_of(model, lsh->centre), in->centre, in->dim * sizeof(float));
    uint8_t *signs = part_of(model, lsh->signs);
    const size_t all = (size_t)lsh->tables * lsh->functions, bytes = ki_rotate_bytes(lsh->width);
    for (size_t r = 0; r * lsh->per_rotation < all; r++)
        ki_rotate_make(lsh->width, ki_rng_next(&rng), signs + r * bytes);
}

static int view_model(struct making *m, const uint8_t *model) {
    const ki_lsh_input *in = m->input;
    m->view = (ki_view){
        .rows = in->rows, .dim = in->dim, .row_bytes = in->row_bytes, .dtype = in->dtype, .metric = in->metric};
    return ki_lsh_view(model, in->shape.model_bytes, in->rows, in->dim, in->metric, &m->lsh);
}

static kith_status start_model(struct making *m, uint8_t *model, kith_error *error) {
    const ki_lsh_shape *shape = &m->input->shape;
    ki_lsh_head head = {.kind = shape->kind,
                        .tables = shape->tables,
                        .functions = shape->functions,
                        .reach = shape->reach,
                        .width = shape->width,
                        .buckets = shape->buckets};
    memcpy(head.magic, KI_LSH_MAGIC, sizeof(head.magic));
    memset(model, 0, shape->model_bytes);
    memcpy(model, &head, sizeof(head));
    if (!view_model(m, model)) return ki_fail(error, KITH_E_ARG, "hash tables of such a shape cannot be made");
    draw_model(m, model);
    return KITH_OK;
}

/* ---- Runs of rows ------------------------------------------------------------------------------------------------ */

static void tell(struct making *m, unsigned worker) {
    const ki_lsh_input *in = m->input;
    kith_error error = {0};
    if (worker != 0 || !in->progress) return;
    const kith_progress progress = {sizeof(progress), "hashing vectors", "vectors", atomic_load(&m->done),
                                    in->rows * in->shape.tables};
    if (in->progress(in->progress_context, &progress))
        note(m, ki_fail(&error, KITH_E_CANCELLED, "the build was cancelled"), &error);
}

/* The rows of a run, read; how many: 0 after a failure. */
static size_t read_run(struct making *m, size_t run, unsigned worker) {
    const ki_lsh_input *in = m->input;
    const uint64_t first = (uint64_t)run * RUN_ROWS;
    const size_t count = (size_t)ki_min_u64(RUN_ROWS, in->rows - first);
    kith_error error = {0};
    if (atomic_load(&m->status)) return 0;
    const kith_status status = in->read(in->context, first, count, m->place[worker].rows, &error);
    note(m, status, &error);
    return status == KITH_OK ? count : 0;
}

/* A row as hashing takes it. */
static const void *row_of(const struct making *m, size_t i, unsigned worker) {
    const struct place *p = &m->place[worker];
    const uint8_t *row = p->rows + i * m->input->row_bytes;
    if (m->input->dtype == KITH_B1) return row;
    ki_distance()->to_f32[m->input->dtype](row, m->input->dim, p->floats);
    return p->floats;
}

static void measure_run(void *context, size_t run, unsigned worker) {
    struct making *m = context;
    const size_t count = read_run(m, run, worker);
    for (size_t i = 0; i < count; i++) {
        const float *x = row_of(m, i, worker);
        m->norm2[(uint64_t)run * RUN_ROWS + i] = (float)ki_distance()->norm2[KITH_F32](x, m->input->dim);
    }
}

static void hash_run(void *context, size_t run, unsigned worker) {
    struct making *m = context;
    const ki_lsh_input *in = m->input;
    uint64_t keys[KI_LSH_TABLES_MAX];
    kith_error error = {0};
    const size_t count = read_run(m, run, worker), tables = m->end - m->first;
    for (size_t i = 0; i < count; i++) {
        const void *x = row_of(m, i, worker);
        if (!ki_lsh_hash(&m->view, &m->lsh, &m->place[worker].hasher, x, 0, m->first, m->end, keys, NULL, 0, NULL)) {
            note(m, ki_fail(&error, KITH_E_NOMEM, "out of memory for hashing"), &error);
            return;
        }
        for (size_t t = 0; t < tables; t++)
            m->bucket[t * in->rows + (uint64_t)run * RUN_ROWS + i] = ki_lsh_bucket(&m->lsh, keys[t]);
    }
    atomic_fetch_add(&m->done, count * tables);
    tell(m, worker);
}

static void sort_table(void *context, size_t number, unsigned worker) {
    struct making *m = context;
    const ki_lsh_input *in = m->input;
    const uint32_t *bucket = m->bucket + number * in->rows;
    uint32_t *first = m->place[worker].sorted, *position = first + ki_lsh_positions_at(m->lsh.buckets) / sizeof(*first);
    kith_error error = {0};
    if (atomic_load(&m->status)) return;
    memset(first, 0, in->shape.table_bytes);
    for (uint64_t i = 0; i < in->rows; i++) first[bucket[i] + 1]++;
    for (uint32_t b = 0; b < m->lsh.buckets; b++) first[b + 1] += first[b];
    for (uint64_t i = in->rows; i--;) position[--first[bucket[i] + 1]] = (uint32_t)i;
    /* Ends have become beginnings, one place on. */
    memmove(first, first + 1, m->lsh.buckets * sizeof(*first));
    first[m->lsh.buckets] = (uint32_t)in->rows;
    note(m, in->write(in->context, (m->first + number) * in->shape.table_bytes, first, in->shape.table_bytes, &error),
         &error);
}

/* ---- The whole --------------------------------------------------------------------------------------------------- */

static kith_status stopped(struct making *m) {
    return (kith_status)atomic_load(&m->status);
}

/* Under ip: the radius of the sphere, and how far along the dimension that is added rows lie on average. */
static kith_status measure_sphere(struct making *m, uint8_t *model, kith_error *error) {
    const ki_lsh_input *in = m->input;
    double most = 0, sum = 0;
    m->norm2 = ki_alloc_array(in->rows, sizeof(*m->norm2));
    if (!m->norm2) return ki_fail(error, KITH_E_NOMEM, "out of memory for the lengths of vectors");
    ki_pool_run(in->pool, (size_t)((in->rows + RUN_ROWS - 1) / RUN_ROWS), measure_run, m);
    if (stopped(m)) return stopped(m);
    for (uint64_t i = 0; i < in->rows; i++) most = (double)m->norm2[i] > most ? (double)m->norm2[i] : most;
    for (uint64_t i = 0; i < in->rows; i++) sum += sqrt(most - (double)m->norm2[i]);
    const float limit = (float)sqrt(most);
    ((float *)part_of(model, m->lsh.centre))[in->dim] = (float)(sum / (double)in->rows);
    memcpy(model + offsetof(ki_lsh_head, limit), &limit, sizeof(limit));
    m->lsh.limit = limit;
    return KITH_OK;
}

static kith_status make_tables(struct making *m, kith_error *error) {
    const ki_lsh_input *in = m->input;
    const size_t step = tables_at_once(m);
    uint64_t all;
    if (ki_mul(step, in->rows, &all)) m->bucket = ki_alloc_array(all, sizeof(*m->bucket));
    if (!m->bucket) return ki_fail(error, KITH_E_NOMEM, "out of memory for %zu hash tables", step);
    for (size_t first = 0; first < in->shape.tables; first += step) {
        m->first = first;
        m->end = ki_min_size(first + step, in->shape.tables);
        ki_pool_run(in->pool, (size_t)((in->rows + RUN_ROWS - 1) / RUN_ROWS), hash_run, m);
        if (!stopped(m)) ki_pool_run(in->pool, m->end - m->first, sort_table, m);
        if (stopped(m)) return stopped(m);
    }
    return KITH_OK;
}

kith_status ki_lsh_build(const ki_lsh_input *input, void *model, kith_error *error) {
    struct making m = {.input = input, .error = error, .failing = ATOMIC_FLAG_INIT};
    atomic_init(&m.status, KITH_OK);
    atomic_init(&m.done, 0);
    kith_status status = make_places(&m) ? KITH_OK : ki_fail(error, KITH_E_NOMEM, "out of memory for hash tables");
    if (status == KITH_OK) status = start_model(&m, model, error);
    if (status == KITH_OK && input->metric == KITH_IP) status = measure_sphere(&m, model, error);
    if (status == KITH_OK) status = make_tables(&m, error);
    free_places(&m);
    free(m.bucket);
    free(m.norm2);
    return status;
}
