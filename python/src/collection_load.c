/* SPDX-License-Identifier: Apache-2.0
 *
 * Loading much at once: readers of vectors, and payloads beside them. */
#include "src/shop.h"

#include <stddef.h>
#include <string.h>

static const kpy_option load_options[] = {
    {"mode", offsetof(kith_load_options, mode), KPY_NARROW},
    {"resume", offsetof(kith_load_options, resume), KPY_NARROW},
    {"payloads_path", offsetof(kith_load_options, payloads_path), KPY_TEXT},
    {"threads", offsetof(kith_load_options, threads), KPY_NARROW},
};

/* Payloads of all rows, back to back. */
struct payloads {
    const char *bytes;
    const uint64_t *ends;
    uint64_t *some; /* ends of the rows that were asked for last */
    size_t room;
    PyArrayObject *holder;
};

static kith_status give_payloads(void *context, uint64_t first, size_t count, kith_payloads *to, kith_error *error) {
    struct payloads *all = context;
    const uint64_t begin = first ? all->ends[first - 1] : 0;
    if (count > all->room) {
        uint64_t *grown = realloc(all->some, count * sizeof(*grown));
        if (!grown) {
            error->status = KITH_E_NOMEM;
            strcpy(error->text, "out of memory");
            return KITH_E_NOMEM;
        }
        all->some = grown;
        all->room = count;
    }
    for (size_t i = 0; i < count; i++) all->some[i] = all->ends[first + i] - begin;
    *to = (kith_payloads){all->bytes + begin, all->some};
    return KITH_OK;
}

/* (bytes, ends): one an item. */
static bool take_payloads(PyObject *pair, uint64_t rows, struct payloads *all) {
    PyObject *packed, *array;
    if (!PyArg_ParseTuple(pair, "SO", &packed, &array)) return false;
    all->holder = kpy_ids_array(array, "ends");
    if (!all->holder) return false;
    all->bytes = PyBytes_AsString(packed);
    all->ends = PyArray_DATA(all->holder);
    const uint64_t count = (uint64_t)PyArray_SIZE(all->holder);
    if (count != rows)
        return kpy_raise(KITH_E_ARG, "there are %zu payloads for %zu items", (size_t)count, (size_t)rows) != NULL;
    for (uint64_t i = 0, last = 0; i < count; last = all->ends[i++])
        if (all->ends[i] < last || all->ends[i] > (uint64_t)PyBytes_Size(packed))
            return kpy_raise(KITH_E_ARG, "ends must ascend within the bytes") != NULL;
    return true;
}

/* The readers of a list of (number of a vector, reader), taken: the first `count` of them are to be given back. */
struct readers {
    kith_load_vectors vectors[KITH_VECTORS_MAX];
    kpy_reader *reader[KITH_VECTORS_MAX];
    size_t count;
    uint64_t rows;
};

static bool take_readers(const kpy_shop *held, PyObject *list, struct readers *readers) {
    const Py_ssize_t count = PyList_Size(list);
    if (count < 1 || count > (Py_ssize_t)KITH_VECTORS_MAX) return kpy_raise(KITH_E_ARG, "no vectors") != NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        kith_reader_info info = KITH_READER_INFO_INIT;
        PyObject *object;
        Py_ssize_t number;
        if (!PyArg_ParseTuple(PyList_GetItem(list, i), "nO!", &number, kpy_reader_type, &object)) return false;
        if (number < 0 || (size_t)number >= held->vectors) return kpy_raise(KITH_E_ARG, "no such vector") != NULL;
        kpy_reader *reader = (kpy_reader *)object;
        if (!kpy_reader_take(reader)) return false;
        readers->reader[readers->count] = reader;
        readers->vectors[readers->count++] = (kith_load_vectors){held->names[number], reader->reader};
        kith_reader_get_info(reader->reader, &info);
        readers->rows = info.rows;
    }
    return true;
}

static PyObject *load(kpy_shop *held, const struct readers *readers, kith_load_options *options, PyObject *function) {
    kpy_watch watch = kpy_watch_make(function);
    kith_load_report report = KITH_LOAD_REPORT_INIT;
    kith_error error = {0};
    options->progress = kpy_on_progress;
    options->progress_context = &watch;
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status =
        kith_collection_load(held->collection, readers->vectors, readers->count, options, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    for (size_t i = 0; i < readers->count; i++)
        if (status != KITH_OK && !watch.poll.raised && kpy_reader_raised(readers->reader[i])) return NULL;
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    return Py_BuildValue("KKKK", (unsigned long long)report.version, (unsigned long long)report.inserted,
                         (unsigned long long)report.replaced, (unsigned long long)report.resumed);
}

/* _load([(number, reader)], payloads or None, options, report or None): (version, inserted, replaced, resumed) */
PyObject *kpy_collection_load(PyObject *self, PyObject *args) {
    PyObject *list, *pair, *dict, *function, *done = NULL;
    struct payloads payloads = {0};
    kith_load_options options = KITH_LOAD_OPTIONS_INIT;
    if (!PyArg_ParseTuple(args, "O!OO!O:_load", &PyList_Type, &list, &pair, &PyDict_Type, &dict, &function))
        return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    struct readers *readers = held ? PyMem_Calloc(1, sizeof(*readers)) : NULL;
    bool fine = readers &&
                kpy_set_options(&options, load_options, sizeof(load_options) / sizeof(*load_options), dict) &&
                take_readers(held, list, readers);
    if (held && !readers) PyErr_NoMemory();
    if (fine && pair != Py_None) {
        fine = take_payloads(pair, readers->rows, &payloads);
        options.payloads = give_payloads;
        options.payloads_context = &payloads;
    }
    if (fine) done = load(held, readers, &options, function);
    for (size_t i = 0; readers && i < readers->count; i++) kpy_reader_give(readers->reader[i]);
    Py_XDECREF(payloads.holder);
    free(payloads.some);
    PyMem_Free(readers);
    kpy_shop_drop(held);
    return done;
}
