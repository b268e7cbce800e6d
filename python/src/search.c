/* SPDX-License-Identifier: Apache-2.0
 *
 * Index.search and Index.range_search. A single query takes less than a microsecond in a small index, so the way to the
 * library is short: arguments are read as arguments.c does, arrays viewed where they lie, and a scratch is at hand.
 *
 * F1. One query without `threads` runs on the calling thread: waking others takes longer than most single searches. */
#include "src/kithpy.h"

#include <math.h>
#include <string.h>

/* ---- What all searches share ------------------------------------------------------------------------------------- */

struct call {
    kpy_handle *handle; /* holds a reference once started */
    kpy_rows rows;
    unsigned threads;
    kith_pool *pool;
    kith_scratch *scratch;
    PyObject *filter; /* kpy_filter, or NULL */
    kith_search_options options;
    kith_explain explain;
    kpy_poll poll;
    kith_error error;
};

static void call_end(struct call *call) {
    if (call->scratch) kpy_scratch_give(call->handle, call->pool, call->scratch);
    Py_XDECREF(call->filter);
    Py_XDECREF(call->rows.owner);
    kpy_handle_drop(call->handle);
}

static bool call_begin(PyObject *self, PyObject **values, struct call *call) {
    kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    if (!handle) return false;
    handle->refs++;
    call->handle = handle;
    call->options = (kith_search_options)KITH_SEARCH_OPTIONS_INIT;
    call->explain = (kith_explain)KITH_EXPLAIN_INIT;
    if (!kpy_parse_wishes(handle, values, &call->options)) return false;
    if (kpy_given(values[KPY_ALLOW]) || kpy_given(values[KPY_DENY])) {
        if (!(call->filter = kpy_parse_filter(self, values))) return false;
        call->options.filter = ((kpy_filter *)call->filter)->filter;
    }
    if (!kpy_rows_view(values[KPY_Q], handle->dtype == KITH_B1, &call->rows)) return false;
    if (!kpy_parse_threads(values[KPY_THREADS], call->rows.q.count > 1 ? kpy_default_threads() : 1, &call->threads))
        return false;
    if (call->threads == 0) return false;
    if (call->threads > 1 && !(call->pool = kpy_pool(call->threads))) return false;
    call->scratch = kpy_scratch_take(handle, call->pool);
    call->options.cancelled = kpy_poll_signals;
    call->options.cancelled_context = &call->poll;
    call->options.explain = &call->explain;
    return call->scratch != NULL;
}

static bool call_done(struct call *call, kith_status status) {
    if (call->poll.raised) return false;
    if (status != KITH_OK) kpy_fail(status, &call->error);
    return status == KITH_OK;
}

/* ---- search ------------------------------------------------------------------------------------------------------ */

/* Rows ascend: what is beyond the radius is their tail. */
static void cut(uint64_t *ids, float *distances, size_t rows, size_t k, float radius) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = k; j-- > 0 && distances[i * k + j] > radius;) {
            ids[i * k + j] = KITH_ID_NONE;
            distances[i * k + j] = INFINITY;
        }
}

static PyObject *run_search(struct call *call, size_t k, const float *radius) {
    const kith_queries *q = &call->rows.q;
    npy_intp shape[2] = {(npy_intp)q->count, (npy_intp)k};
    npy_intp *dims = shape + call->rows.single;
    const int axes = 2 - call->rows.single;
    PyObject *ids = PyArray_SimpleNew(axes, dims, call->handle->wide ? NPY_UINT64 : NPY_INT64);
    PyObject *distances = ids ? PyArray_SimpleNew(axes, dims, NPY_FLOAT) : NULL, *strings = NULL;
    if (!distances) goto failed;
    uint64_t *id = PyArray_DATA((PyArrayObject *)ids);
    float *distance = PyArray_DATA((PyArrayObject *)distances);
    call->poll.saved = PyEval_SaveThread();
    const kith_status status =
        kith_search(call->handle->index, q, k, &call->options, call->scratch, id, distance, &call->error);
    if (status == KITH_OK && radius) cut(id, distance, q->count, k, *radius);
    PyEval_RestoreThread(call->poll.saved);
    if (!call_done(call, status)) goto failed;
    if (call->handle->id_kind != KITH_ID_STRING) return kpy_result_make(ids, distances, NULL, &call->explain);
    strings = kpy_string_ids(call->handle, (PyArrayObject *)ids);
    if (strings) return kpy_result_make(strings, distances, ids, &call->explain);
failed:
    Py_XDECREF(ids);
    Py_XDECREF(distances);
    return NULL;
}

PyObject *kpy_index_search(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const kpy_signature signature = {"search", ~0u, {KPY_Q, KPY_K}, 2};
    PyObject *values[KPY_ARGUMENTS] = {0};
    struct call call = {0};
    float radius;
    size_t k;
    if (!kpy_take_arguments(&signature, args, count, names, values)) return NULL;
    if (!kpy_parse_k(values[KPY_K], &k)) return NULL;
    const bool within = kpy_given(values[KPY_RADIUS]);
    if (within && !kpy_parse_radius(values[KPY_RADIUS], &radius)) return NULL;
    PyObject *found = call_begin(self, values, &call) ? run_search(&call, k, within ? &radius : NULL) : NULL;
    call_end(&call);
    return found;
}

/* ---- range_search ------------------------------------------------------------------------------------------------ */

static PyObject *copy_out(const void *from, size_t count, int type, size_t size) {
    npy_intp length = (npy_intp)count;
    PyObject *array = PyArray_SimpleNew(1, &length, type);
    if (array && count) memcpy(PyArray_DATA((PyArrayObject *)array), from, count * size);
    return array;
}

/* (offsets, ids, distances, rows or None, explain) */
static PyObject *copy_ranges(const struct call *call, const kith_ranges *ranges) {
    const size_t found = (size_t)ranges->offsets[ranges->queries];
    PyObject *offsets = copy_out(ranges->offsets, ranges->queries + 1, NPY_INT64, sizeof(uint64_t));
    PyObject *ids = copy_out(ranges->ids, found, call->handle->wide ? NPY_UINT64 : NPY_INT64, sizeof(uint64_t));
    PyObject *distances = copy_out(ranges->distances, found, NPY_FLOAT, sizeof(float));
    PyObject *rows = Py_None, *explain = kpy_explain_dict(&call->explain);
    Py_INCREF(rows);
    if (ids && call->handle->id_kind == KITH_ID_STRING) {
        Py_DECREF(rows);
        rows = ids;
        ids = kpy_string_ids(call->handle, (PyArrayObject *)rows);
    }
    PyObject *tuple =
        offsets && ids && distances && explain ? PyTuple_Pack(5, offsets, ids, distances, rows, explain) : NULL;
    Py_XDECREF(offsets);
    Py_XDECREF(ids);
    Py_XDECREF(distances);
    Py_XDECREF(rows);
    Py_XDECREF(explain);
    return tuple;
}

PyObject *kpy_index_range(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    static const kpy_signature signature = {"range_search",
                                            1u << KPY_Q | 1u << KPY_RADIUS | 1u << KPY_ALLOW | 1u << KPY_DENY |
                                                1u << KPY_PLAN | 1u << KPY_THREADS | 1u << KPY_TIMEOUT,
                                            {KPY_Q, KPY_RADIUS},
                                            2};
    PyObject *values[KPY_ARGUMENTS] = {0}, *found = NULL;
    struct call call = {0};
    kith_ranges ranges = {0};
    float radius;
    if (!kpy_take_arguments(&signature, args, count, names, values)) return NULL;
    if (!kpy_parse_radius(values[KPY_RADIUS], &radius)) return NULL;
    if (call_begin(self, values, &call)) {
        call.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_search_range(call.handle->index, &call.rows.q, radius, &call.options,
                                                     call.scratch, &ranges, &call.error);
        PyEval_RestoreThread(call.poll.saved);
        if (call_done(&call, status)) found = copy_ranges(&call, &ranges);
    }
    call_end(&call);
    return found;
}
