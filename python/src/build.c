/* SPDX-License-Identifier: Apache-2.0
 *
 * Long work: building and verifying, with progress and Ctrl-C. */
#include "src/kithpy.h"

#include <stddef.h>
#include <string.h>

/* ---- Progress ---------------------------------------------------------------------------------------------------- */

struct watch {
    kpy_poll poll;
    PyObject *report; /* function(stage, done, total) or NULL */
    const char *stage;
    uint64_t next_ns;
};

/* With the GIL. True when the user wants to stop, or raised. */
static bool tell(struct watch *watch, const kith_progress *progress) {
    PyObject *answer = PyObject_CallFunction(watch->report, "sKK", progress->stage, (unsigned long long)progress->done,
                                             (unsigned long long)progress->total);
    const int stop = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    watch->poll.raised = stop < 0;
    return stop != 0;
}

/* Tenths of a second between reports within a stage, so that a report costs nothing. */
enum { REPORT_NS = 100 * 1000 * 1000 };

static int on_progress(void *context, const kith_progress *progress) {
    struct watch *watch = context;
    if (kpy_poll_signals(&watch->poll)) return 1;
    const uint64_t now = kpy_now_ns();
    const bool new_stage = !watch->stage || strcmp(watch->stage, progress->stage) != 0;
    if (!watch->report || !(new_stage || now >= watch->next_ns || progress->done == progress->total)) return 0;
    watch->stage = progress->stage;
    watch->next_ns = now + REPORT_NS;
    PyEval_RestoreThread(watch->poll.saved);
    const bool stop = tell(watch, progress);
    watch->poll.saved = PyEval_SaveThread();
    return stop;
}

/* ---- Building ---------------------------------------------------------------------------------------------------- */

/* Options by name; Python has made numbers of words (kith/_options.py). */
static const struct build_option {
    const char *name;
    size_t offset;
    bool wide; /* uint64_t, else a 32-bit enum or unsigned */
} build_options[] = {
    {"metric", offsetof(kith_build_options, metric), false},
    {"dtype", offsetof(kith_build_options, dtype), false},
    {"originals", offsetof(kith_build_options, originals), false},
    {"first_level", offsetof(kith_build_options, first_level), false},
    {"threads", offsetof(kith_build_options, threads), false},
    {"memory", offsetof(kith_build_options, memory_bytes), true},
    {"seed", offsetof(kith_build_options, seed), true},
};

static bool set_option(kith_build_options *options, PyObject *name, PyObject *value) {
    for (size_t i = 0; i < sizeof(build_options) / sizeof(*build_options); i++) {
        if (PyUnicode_CompareWithASCIIString(name, build_options[i].name) != 0) continue;
        const unsigned long long number = PyLong_AsUnsignedLongLong(value);
        if (PyErr_Occurred()) return false;
        const unsigned narrow = (unsigned)number;
        char *to = (char *)options + build_options[i].offset;
        if (build_options[i].wide)
            memcpy(to, &number, sizeof(uint64_t));
        else
            memcpy(to, &narrow, sizeof(narrow));
        return true;
    }
    PyErr_Format(PyExc_TypeError, "there is no build option %R", name);
    return false;
}

static bool set_options(kith_build_options *options, PyObject *dict) {
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &name, &value))
        if (!set_option(options, name, value)) return false;
    return true;
}

static PyObject *report_dict(const kith_build_report *r) {
    const kpy_entry entries[] = {
        {"rows", kpy_u64(r->rows)},
        {"dim", kpy_u64(r->dim)},
        {"input_bytes", kpy_u64(r->input_bytes)},
        {"file_bytes", kpy_u64(r->file_bytes)},
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

/* build(reader, path, options, report or None) */
PyObject *kpy_build(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *object, *path, *dict, *function;
    if (!PyArg_ParseTuple(args, "O!O&O!O:build", kpy_reader_type, &object, PyUnicode_FSConverter, &path, &PyDict_Type,
                          &dict, &function))
        return NULL;
    kpy_reader *reader = (kpy_reader *)object;
    kith_build_options options = KITH_BUILD_OPTIONS_INIT;
    struct watch watch = {.report = function == Py_None ? NULL : function};
    kith_build_report report = KITH_BUILD_REPORT_INIT;
    kith_error error = {0};
    PyObject *done = NULL;
    options.progress = on_progress;
    options.progress_context = &watch;
    const char *name = PyBytes_AsString(path);
    if (reader->busy) {
        kpy_raise(KITH_E_BUSY, "another build reads from this reader");
    } else if (set_options(&options, dict)) {
        reader->busy = true;
        watch.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_build(reader->reader, name, &options, &report, &error);
        PyEval_RestoreThread(watch.poll.saved);
        reader->busy = false;
        if (watch.poll.raised)
            done = NULL;
        else if (status == KITH_OK)
            done = report_dict(&report);
        else if (!kpy_reader_raised(reader))
            kpy_fail(status, &error);
    }
    Py_DECREF(path);
    return done;
}

/* verify(path, threads, report or None) */
PyObject *kpy_verify(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *count, *function;
    unsigned threads;
    if (!PyArg_ParseTuple(args, "O&OO:verify", PyUnicode_FSConverter, &path, &count, &function)) return NULL;
    struct watch watch = {.report = function == Py_None ? NULL : function};
    kith_error error = {0};
    kith_pool *pool = NULL;
    const char *name = PyBytes_AsString(path);
    bool fine = kpy_parse_threads(count, kpy_default_threads(), &threads) && threads;
    if (fine && threads > 1) fine = (pool = kpy_pool(threads)) != NULL;
    if (fine) {
        watch.poll.saved = PyEval_SaveThread();
        const kith_status status = kith_index_verify(name, pool, on_progress, &watch, &error);
        PyEval_RestoreThread(watch.poll.saved);
        fine = status == KITH_OK && !watch.poll.raised;
        if (!watch.poll.raised && status != KITH_OK) kpy_fail(status, &error);
    }
    Py_DECREF(path);
    if (!fine) return NULL;
    Py_RETURN_NONE;
}
