/* SPDX-License-Identifier: Apache-2.0
 *
 * Building and verifying. */
#include "src/kithpy.h"

#include <stddef.h>

static const kpy_option build_options[] = {
    {"metric", offsetof(kith_build_options, metric), KPY_NARROW},
    {"dtype", offsetof(kith_build_options, dtype), KPY_NARROW},
    {"originals", offsetof(kith_build_options, originals), KPY_NARROW},
    {"first_level", offsetof(kith_build_options, first_level), KPY_NARROW},
    {"lists", offsetof(kith_build_options, lists), KPY_WIDE},
    {"code", offsetof(kith_build_options, code), KPY_TEXT},
    {"index", offsetof(kith_build_options, index), KPY_NARROW},
    {"graph_degree", offsetof(kith_build_options, graph_degree), KPY_NARROW},
    {"graph_bits", offsetof(kith_build_options, graph_bits), KPY_NARROW},
    {"lean", offsetof(kith_build_options, graph_lean), KPY_NARROW},
    {"hnsw_m", offsetof(kith_build_options, hnsw_m), KPY_NARROW},
    {"hnsw_ef", offsetof(kith_build_options, hnsw_ef), KPY_NARROW},
    {"lsh_tables", offsetof(kith_build_options, lsh_tables), KPY_NARROW},
    {"lsh_functions", offsetof(kith_build_options, lsh_functions), KPY_NARROW},
    {"no_spill", offsetof(kith_build_options, no_spill), KPY_NARROW},
    {"no_calibration", offsetof(kith_build_options, no_calibration), KPY_NARROW},
    {"threads", offsetof(kith_build_options, threads), KPY_NARROW},
    {"memory", offsetof(kith_build_options, memory_bytes), KPY_WIDE},
    {"seed", offsetof(kith_build_options, seed), KPY_WIDE},
};

static PyObject *report_dict(const kith_build_report *r) {
    const kpy_entry entries[] = {
        {"rows", kpy_u64(r->rows)},
        {"dim", kpy_u64(r->dim)},
        {"input_bytes", kpy_u64(r->input_bytes)},
        {"file_bytes", kpy_u64(r->file_bytes)},
        {"lists", kpy_u64(r->lists)},
        {"first_level_dim", kpy_u64(r->first_level_dim)},
        {"integer_codes", PyBool_FromLong(r->integer_codes)},
        {"seconds", PyFloat_FromDouble((double)r->total_ns * 1e-9)},
        {"read_seconds", PyFloat_FromDouble((double)r->read_ns * 1e-9)},
        {"train_seconds", PyFloat_FromDouble((double)r->train_ns * 1e-9)},
        {"code_seconds", PyFloat_FromDouble((double)r->code_ns * 1e-9)},
        {"write_seconds", PyFloat_FromDouble((double)r->write_ns * 1e-9)},
        {"verify_seconds", PyFloat_FromDouble((double)r->verify_ns * 1e-9)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* build(reader, path, options, report or None, links: an Index or None) */
PyObject *kpy_build(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *path, *dict, *function, *links, *done = NULL;
    if (!PyArg_ParseTuple(args, "O!O&O!OO:build", kpy_reader_type, &object, PyUnicode_FSConverter, &path, &PyDict_Type,
                          &dict, &function, &links))
        return NULL;
    kpy_reader *reader = (kpy_reader *)object;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    kpy_watch watch = kpy_watch_make(function);
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    kith_error error = {0};
    options.progress = kpy_on_progress;
    options.progress_context = &watch;
    const char *name = PyBytes_AsString(path);
    kpy_handle *handle = NULL;
    if (links != Py_None && !PyObject_TypeCheck(links, kpy_index_type))
        PyErr_SetString(PyExc_TypeError, "links must be an Index or None");
    else if (links != Py_None && (handle = kpy_index_handle((kpy_index *)links)) != NULL) {
        handle->refs++;
        options.links = handle->index;
    }
    if (!PyErr_Occurred() &&
        kpy_set_options(&options, build_options, sizeof(build_options) / sizeof(*build_options), dict) &&
        kpy_reader_take(reader)) {
        watch.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_build(reader->reader, name, &options, &report, &error);
        PyEval_RestoreThread(watch.poll.saved);
        kpy_reader_give(reader);
        if (kpy_work_done(&watch, status, &error, reader)) done = report_dict(&report);
    }
    kpy_handle_drop(handle);
    Py_DECREF(path);
    return done;
}

/* verify(path, threads, report or None) */
PyObject *kpy_verify(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *count, *function;
    unsigned threads;
    if (!PyArg_ParseTuple(args, "O&OO:verify", PyUnicode_FSConverter, &path, &count, &function)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    kith_error error = {0};
    kith_pool *pool = NULL;
    const char *name = PyBytes_AsString(path);
    bool fine = kpy_parse_threads(count, kpy_default_threads(), &threads) && threads;
    if (fine && threads > 1) fine = (pool = kpy_pool(threads)) != NULL;
    if (fine) {
        watch.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_index_verify(name, pool, kpy_on_progress, &watch, &error);
        PyEval_RestoreThread(watch.poll.saved);
        fine = kpy_work_done(&watch, status, &error, NULL);
    }
    Py_DECREF(path);
    if (!fine) return NULL;
    Py_RETURN_NONE;
}
