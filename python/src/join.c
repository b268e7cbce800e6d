/* SPDX-License-Identifier: Apache-2.0
 *
 * The join, and calibration: what is done with many queries at once, and what it takes to promise a recall. */
#include "src/kithpy.h"

#include <stddef.h>

/* Queries of a call: a Reader that is taken, or None. */
static bool take_queries(PyObject *object, kpy_reader **reader) {
    *reader = NULL;
    if (object == Py_None) return true;
    if (!PyObject_TypeCheck(object, kpy_reader_type)) {
        PyErr_SetString(PyExc_TypeError, "queries must be a Reader or None");
        return false;
    }
    if (!kpy_reader_take((kpy_reader *)object)) return false;
    *reader = (kpy_reader *)object;
    return true;
}

/* ---- Join -------------------------------------------------------------------------------------------------------- */

static const kpy_option join_options[] = {
    {"k", offsetof(kith_join_options, k), KPY_WIDE},
    {"format", offsetof(kith_join_options, format), KPY_NARROW},
    {"plan", offsetof(kith_join_options, plan), KPY_NARROW},
    {"target_recall", offsetof(kith_join_options, target_recall), KPY_REAL},
    {"nprobe", offsetof(kith_join_options, nprobe), KPY_WIDE},
    {"rerank", offsetof(kith_join_options, rerank), KPY_WIDE},
    {"effort", offsetof(kith_join_options, effort), KPY_WIDE},
    {"scan_code", offsetof(kith_join_options, code), KPY_NARROW},
    {"restart", offsetof(kith_join_options, restart), KPY_NARROW},
    {"threads", offsetof(kith_join_options, threads), KPY_NARROW},
    {"memory", offsetof(kith_join_options, memory_bytes), KPY_WIDE},
    {"batch", offsetof(kith_join_options, batch), KPY_WIDE},
};

static PyObject *join_dict(const kith_join_report *r) {
    const kpy_entry entries[] = {
        {"queries", kpy_u64(r->queries)},
        {"resumed", kpy_u64(r->resumed)},
        {"restarted", PyUnicode_FromString(r->restarted ? r->restarted : "")},
        {"plan", PyUnicode_FromString(r->plan_name ? r->plan_name : "")},
        {"exact", PyBool_FromLong(r->exact)},
        {"output_bytes", kpy_u64(r->output_bytes)},
        {"seconds", PyFloat_FromDouble((double)r->total_ns * 1e-9)},
        {"search_seconds", PyFloat_FromDouble((double)r->search_ns * 1e-9)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

static PyObject *run_join(kpy_handle *handle, kpy_reader *reader, const char *out, kith_join_options *options,
                          kpy_watch *watch) {
    kith_join_report report = KITH_JOIN_REPORT_INIT;
    kith_error error = {0};
    options->progress = kpy_on_progress;
    options->progress_context = watch;
    watch->poll.saved = PyEval_SaveThread();
    const kith_status status = kith_join(handle->index, reader ? reader->reader : NULL, out, options, &report, &error);
    PyEval_RestoreThread(watch->poll.saved);
    return kpy_work_done(watch, status, &error, reader) ? join_dict(&report) : NULL;
}

/* Index._join(reader or None, out, options, filter or None, report or None) */
PyObject *kpy_index_join(PyObject *self, PyObject *args) {
    PyObject *object, *path, *dict, *allow, *function, *done = NULL;
    if (!PyArg_ParseTuple(args, "OO&O!OO:_join", &object, PyUnicode_FSConverter, &path, &PyDict_Type, &dict, &allow,
                          &function))
        return NULL;
    kith_join_options options = KITH_JOIN_OPTIONS_INIT;
    kpy_watch watch = kpy_watch_make(function);
    kpy_reader *reader = NULL;
    kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    if (handle) handle->refs++;
    if (allow != Py_None && PyObject_TypeCheck(allow, kpy_filter_type))
        options.filter = ((kpy_filter *)allow)->filter;
    else if (allow != Py_None)
        PyErr_SetString(PyExc_TypeError, "allow must be a Filter or None");
    if (handle && !PyErr_Occurred() &&
        kpy_set_options(&options, join_options, sizeof(join_options) / sizeof(*join_options), dict) &&
        take_queries(object, &reader)) {
        done = run_join(handle, reader, PyBytes_AsString(path), &options, &watch);
        kpy_reader_give(reader);
    }
    kpy_handle_drop(handle);
    Py_DECREF(path);
    return done;
}

/* ---- Calibration ------------------------------------------------------------------------------------------------- */

/* tune(path, reader or None, queries, seed, threads, report or None) */
PyObject *kpy_tune(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *object, *count, *function;
    unsigned long long most, seed;
    unsigned threads;
    if (!PyArg_ParseTuple(args, "O&OKKOO:tune", PyUnicode_FSConverter, &path, &object, &most, &seed, &count, &function))
        return NULL;
    kith_tune_options options = KITH_TUNE_OPTIONS_INIT;
    kpy_watch watch = kpy_watch_make(function);
    kith_error error = {0};
    kpy_reader *reader = NULL;
    const char *name = PyBytes_AsString(path);
    bool fine = kpy_parse_threads(count, kpy_default_threads(), &threads) && threads;
    if (fine && threads > 1) fine = (options.pool = kpy_pool(threads)) != NULL;
    if (fine && (fine = take_queries(object, &reader))) {
        options.queries = most;
        options.seed = seed;
        options.progress = kpy_on_progress;
        options.progress_context = &watch;
        watch.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_tune(name, reader ? reader->reader : NULL, &options, &error);
        PyEval_RestoreThread(watch.poll.saved);
        kpy_reader_give(reader);
        fine = kpy_work_done(&watch, status, &error, reader);
    }
    Py_DECREF(path);
    if (!fine) return NULL;
    Py_RETURN_NONE;
}

/* Index._tuned(): a list of tuples (plan, code, k, batch, nprobe, rerank, recall, recall_error, query_seconds,
 * effort) */
PyObject *kpy_index_tuned(PyObject *self, PyObject *none) {
    (void)none;
    const kpy_handle *handle = kpy_index_handle((kpy_index *)self);
    const kith_tuned *tuned = NULL;
    if (!handle) return NULL;
    const size_t count = kith_index_tuned(handle->index, &tuned);
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (size_t i = 0; list && i < count; i++) {
        const kith_tuned *t = &tuned[i];
        const bool coded = t->plan == KITH_PLAN_IVF, walks = kpy_walks(t->plan);
        PyObject *row = Py_BuildValue("ssnnnndddn", kith_plan_name(t->plan), coded ? kith_scan_code_name(t->code) : "",
                                      (Py_ssize_t)t->k, (Py_ssize_t)t->batch, (Py_ssize_t)(walks ? 0 : t->nprobe),
                                      (Py_ssize_t)t->rerank, t->recall, t->recall_error, t->query_ns * 1e-9,
                                      (Py_ssize_t)(walks ? t->nprobe : 0));
        if (!row || PyList_SetItem(list, (Py_ssize_t)i, row) != 0) Py_CLEAR(list);
    }
    return list;
}
