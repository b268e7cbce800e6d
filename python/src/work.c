/* SPDX-License-Identifier: Apache-2.0
 *
 * What long works share: progress with Ctrl-C, and options by name. */
#include "src/kithpy.h"

#include <string.h>

/* ---- Progress ---------------------------------------------------------------------------------------------------- */

/* With the GIL. True when the user wants to stop, or raised. */
static bool tell(kpy_watch *watch, const kith_progress *progress) {
    PyObject *answer = PyObject_CallFunction(watch->report, "sKK", progress->stage, (unsigned long long)progress->done,
                                             (unsigned long long)progress->total);
    const int stop = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    watch->poll.raised = stop < 0;
    return stop != 0;
}

/* Tenths of a second between reports within a stage, so that a report costs nothing. */
enum { REPORT_NS = 100 * 1000 * 1000 };

int kpy_on_progress(void *context, const kith_progress *progress) {
    kpy_watch *watch = context;
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

kpy_watch kpy_watch_make(PyObject *report) {
    return (kpy_watch){.report = report == Py_None ? NULL : report};
}

bool kpy_work_done(const kpy_watch *watch, kith_status status, const kith_error *error, kpy_reader *reader) {
    if (watch->poll.raised) return false;
    if (status == KITH_OK) return true;
    if (!reader || !kpy_reader_raised(reader)) kpy_fail(status, error);
    return false;
}

/* ---- Options ----------------------------------------------------------------------------------------------------- */

static bool store(const kpy_option *option, void *options, PyObject *value) {
    char *to = (char *)options + option->offset;
    if (option->kind == KPY_REAL) {
        const double number = PyFloat_AsDouble(value);
        memcpy(to, &number, sizeof(number));
    } else if (option->kind == KPY_TEXT) {
        const char *text = PyUnicode_AsUTF8AndSize(value, NULL);
        memcpy(to, &text, sizeof(const char *));
    } else {
        const unsigned long long number = PyLong_AsUnsignedLongLong(value);
        const unsigned narrow = (unsigned)number;
        memcpy(to, option->kind == KPY_WIDE ? (const void *)&number : (const void *)&narrow,
               option->kind == KPY_WIDE ? sizeof(number) : sizeof(narrow));
    }
    return !PyErr_Occurred();
}

bool kpy_set_options(void *options, const kpy_option *table, size_t count, PyObject *dict) {
    PyObject *name, *value;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &name, &value)) {
        size_t i = 0;
        while (i < count && PyUnicode_CompareWithASCIIString(name, table[i].name) != 0) i++;
        if (i == count) {
            PyErr_Format(PyExc_TypeError, "there is no option %R", name);
            return false;
        }
        if (!store(&table[i], options, value)) return false;
    }
    return true;
}
