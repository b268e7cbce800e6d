/* SPDX-License-Identifier: Apache-2.0
 *
 * Open indexes and their working memory, and the pools of threads.
 *
 * A search takes a scratch from its index's list of idle ones, or makes one, and gives it back: as many exist as ever
 * ran at once, KPY_IDLE of them are kept. Pools are few (people use one or two numbers of threads) and live as long as
 * the process: a scratch may outlive any one user of its pool. */
#include "src/kithpy.h"

PyTypeObject *kpy_index_type;

static kith_pool *pools[KITH_THREADS_MAX + 1];
static unsigned default_threads; /* 0: not yet asked for */

kith_pool *kpy_pool(unsigned threads) {
    kith_error error = {0};
    if (pools[threads]) return pools[threads];
    const kith_status status = kith_pool_create(threads, &pools[threads], &error);
    if (status != KITH_OK) kpy_fail(status, &error);
    return pools[threads];
}

unsigned kpy_default_threads(void) {
    if (default_threads) return default_threads;
    kith_cpu cpu = KITH_CPU_INIT;
    kith_error error = {0};
    const kith_status status = kith_cpu_info(&cpu, &error);
    if (status != KITH_OK) {
        kpy_fail(status, &error);
        return 0;
    }
    return default_threads = cpu.threads;
}

bool kpy_parse_threads(PyObject *object, unsigned fallback, unsigned *threads) {
    if (!object || object == Py_None) {
        *threads = fallback;
        return true;
    }
    const long count = PyLong_AsLong(object);
    if (count == -1 && PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_OverflowError)) return false;
    PyErr_Clear();
    if (count < 1 || count > (long)KITH_THREADS_MAX) {
        kpy_raise(KITH_E_ARG, "threads is %S, 1 to %u are possible", object, KITH_THREADS_MAX);
        return false;
    }
    *threads = (unsigned)count;
    return true;
}

PyObject *kpy_set_threads(PyObject *module, PyObject *count) {
    (void)module;
    unsigned threads;
    if (!kpy_parse_threads(count, 0, &threads)) return NULL;
    default_threads = threads;
    Py_RETURN_NONE;
}

PyObject *kpy_get_threads(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    const unsigned threads = kpy_default_threads();
    return threads ? PyLong_FromUnsignedLong(threads) : NULL;
}

kpy_handle *kpy_handle_make(kith_index *index) {
    kith_index_info info = KITH_INDEX_INFO_INIT;
    kith_error error = {0};
    uint64_t last = 0;
    kith_index_get_info(index, &info);
    const kith_status status = kith_index_ids(index, info.rows - 1, 1, &last, &error);
    kpy_handle *handle = status == KITH_OK ? PyMem_Calloc(1, sizeof(*handle)) : NULL;
    if (!handle) {
        kpy_fail(status == KITH_OK ? KITH_E_NOMEM : status, &error);
        kith_index_close(index);
        return NULL;
    }
    handle->index = index;
    handle->refs = 1;
    handle->rows = info.rows;
    handle->dim = info.dim;
    handle->dtype = info.dtype;
    handle->metric = info.metric;
    handle->id_kind = info.id_kind;
    handle->has_originals = info.has_originals;
    handle->has_names = info.has_names;
    handle->wide = last > (uint64_t)INT64_MAX;
    return handle;
}

void kpy_handle_drop(kpy_handle *handle) {
    if (!handle || --handle->refs) return;
    for (size_t i = 0; i < handle->idle; i++) kith_scratch_destroy(handle->idle_scratch[i].scratch);
    kith_index_close(handle->index);
    PyMem_Free(handle);
}

kpy_handle *kpy_index_handle(kpy_index *index) {
    if (!index->handle) kpy_raise(KITH_E_ARG, "the index is closed");
    return index->handle;
}

kith_scratch *kpy_scratch_take(kpy_handle *handle, kith_pool *pool) {
    for (size_t i = handle->idle; i-- > 0;) {
        if (handle->idle_scratch[i].pool != pool) continue;
        kith_scratch *scratch = handle->idle_scratch[i].scratch;
        handle->idle_scratch[i] = handle->idle_scratch[--handle->idle];
        return scratch;
    }
    kith_scratch *scratch = NULL;
    kith_error error = {0};
    const kith_status status = kith_scratch_create(handle->index, pool, &scratch, &error);
    if (status != KITH_OK) kpy_fail(status, &error);
    return scratch;
}

void kpy_scratch_give(kpy_handle *handle, kith_pool *pool, kith_scratch *scratch) {
    if (handle->idle == KPY_IDLE) {
        kith_scratch_destroy(scratch);
        return;
    }
    handle->idle_scratch[handle->idle].pool = pool;
    handle->idle_scratch[handle->idle++].scratch = scratch;
}
