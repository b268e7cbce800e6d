/* SPDX-License-Identifier: Apache-2.0
 *
 * What bench/python_overhead.py holds Index.search against: the same search, called from C. Not for users. */
#include "src/kithpy.h"

/* time_search(index, array, k, batch, threads, repeats): nanoseconds of each of `repeats` passes over all queries,
 * `batch` of them a call. Options are those that Index.search gives. */
PyObject *kpy_time_search(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *array;
    Py_ssize_t k, batch, repeats;
    unsigned threads;
    if (!PyArg_ParseTuple(args, "O!OnnIn:time_search", kpy_index_type, &object, &array, &k, &batch, &threads, &repeats))
        return NULL;
    kpy_handle *handle = kpy_index_handle((kpy_index *)object);
    kpy_rows rows;
    kith_pool *pool = NULL;
    if (!handle || !kpy_rows_view(array, handle->dtype == KITH_B1, &rows)) return NULL;
    if (k < 1 || batch < 1 || threads < 1 || threads > KITH_THREADS_MAX) {
        Py_DECREF(rows.owner);
        return kpy_raise(KITH_E_ARG, "k, batch and threads must be at least 1");
    }
    kith_scratch *scratch = threads > 1 && !(pool = kpy_pool(threads)) ? NULL : kpy_scratch_take(handle, pool);
    uint64_t *ids = PyMem_Malloc((size_t)(batch * k) * sizeof(*ids));
    float *distances = PyMem_Malloc((size_t)(batch * k) * sizeof(*distances));
    PyObject *times = scratch && ids && distances ? PyList_New(0) : NULL;
    kpy_poll poll = {0};
    kith_explain explain = KITH_EXPLAIN_INIT;
    kith_search_options options = KITH_SEARCH_OPTIONS_INIT;
    kith_error error = {0};
    options.cancelled = kpy_poll_signals;
    options.cancelled_context = &poll;
    options.explain = &explain;
    for (Py_ssize_t r = 0; times && r < repeats; r++) {
        poll.saved = PyEval_SaveThread();
        kith_status status = KITH_OK;
        const uint64_t start = kpy_now_ns();
        for (size_t i = 0; i < rows.q.count && status == KITH_OK; i += (size_t)batch) {
            kith_queries q = rows.q;
            q.data = (const char *)rows.q.data + i * rows.q.stride_bytes;
            q.count = rows.q.count - i < (size_t)batch ? rows.q.count - i : (size_t)batch;
            status = kith_search(handle->index, &q, (size_t)k, &options, scratch, ids, distances, &error);
        }
        const uint64_t took = kpy_now_ns() - start;
        PyEval_RestoreThread(poll.saved);
        PyObject *number = poll.raised ? NULL : PyLong_FromUnsignedLongLong(took);
        if (status != KITH_OK) kpy_fail(status, &error);
        if (status != KITH_OK || !number || PyList_Append(times, number)) Py_CLEAR(times);
        Py_XDECREF(number);
    }
    if (scratch) kpy_scratch_give(handle, pool, scratch);
    PyMem_Free(ids);
    PyMem_Free(distances);
    Py_DECREF(rows.owner);
    return times;
}
