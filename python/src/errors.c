/* SPDX-License-Identifier: Apache-2.0
 *
 * From a status to an exception, and Ctrl-C while the library works. */
#include "src/kithpy.h"

#include <stdarg.h>
#include <time.h>

static PyObject *class_of(kith_status status) {
    PyObject *found = NULL;
    if (status == KITH_E_NOMEM) return PyExc_MemoryError;
    if (kpy_hooks.errors && (Py_ssize_t)status < PyTuple_Size(kpy_hooks.errors))
        found = PyTuple_GetItem(kpy_hooks.errors, (Py_ssize_t)status);
    return found ? found : PyExc_RuntimeError;
}

PyObject *kpy_fail(kith_status status, const kith_error *error) {
    if (PyErr_Occurred()) return NULL;
    const char *text = error && error->text[0] ? error->text : kith_status_text(status);
    PyObject *message = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    if (message) PyErr_SetObject(class_of(status), message);
    Py_XDECREF(message);
    return NULL;
}

PyObject *kpy_raise(kith_status status, const char *format, ...) {
    va_list values;
    va_start(values, format);
    PyObject *message = PyUnicode_FromFormatV(format, values);
    va_end(values);
    if (message) PyErr_SetObject(class_of(status), message);
    Py_XDECREF(message);
    return NULL;
}

uint64_t kpy_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Fifty milliseconds: short beside a person's patience, long beside a wait for the GIL. */
enum { POLL_NS = 50 * 1000 * 1000 };

int kpy_poll_signals(void *context) {
    kpy_poll *poll = context;
    const uint64_t now = kpy_now_ns();
    if (poll->raised) return 1;
    if (poll->next_ns == 0) poll->next_ns = now + POLL_NS;
    if (now < poll->next_ns) return 0;
    PyEval_RestoreThread(poll->saved);
    poll->raised = PyErr_CheckSignals() != 0;
    poll->saved = PyEval_SaveThread();
    poll->next_ns = kpy_now_ns() + POLL_NS;
    return poll->raised;
}
