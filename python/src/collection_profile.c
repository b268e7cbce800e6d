/* SPDX-License-Identifier: Apache-2.0
 *
 * Profiles of a collection: events, reading and forgetting. */
#include "src/shop.h"

#include <stdlib.h>

/* [(kind, weight, time in ms)] */
static kith_profile_event *events_of(PyObject *list, size_t count) {
    kith_profile_event *events = PyMem_Calloc(count + 1, sizeof(*events));
    if (!events) return (void *)PyErr_NoMemory();
    bool fine = PyList_Size(list) == (Py_ssize_t)count;
    if (!fine && !PyErr_Occurred())
        kpy_raise(KITH_E_ARG, "there are %zd events for %zu items", PyList_Size(list), count);
    for (size_t i = 0; i < count && fine; i++) {
        int kind;
        unsigned long long time_ms;
        fine = PyArg_ParseTuple(PyList_GetItem(list, (Py_ssize_t)i), "idK", &kind, &events[i].weight, &time_ms);
        if (!fine) break;
        events[i].kind = (kith_event_kind)kind;
        events[i].time_ms = time_ms;
    }
    if (fine) return events;
    PyMem_Free(events);
    return NULL;
}

/* _event(name, ids, [(kind, weight, time)], vector or None, interests, seen, half-life in ms, threshold) */
PyObject *kpy_collection_event(PyObject *self, PyObject *args) {
    kith_profile_options options = KITH_PROFILE_OPTIONS_INIT;
    kpy_ids ids = {0};
    PyObject *name_object, *what, *list, *vector;
    Py_ssize_t interests, seen;
    unsigned long long half_life;
    const char *name;
    kith_error error = {0};
    kith_status status = KITH_OK;
    if (!PyArg_ParseTuple(args, "OOOOnnKd:_event", &name_object, &what, &list, &vector, &interests, &seen, &half_life,
                          &options.threshold) ||
        !kpy_take_text(name_object, "name", &name) || !kpy_take_text(vector, "vector", &options.vector))
        return NULL;
    options.interests = (size_t)interests;
    options.seen = (size_t)seen;
    options.half_life_ms = half_life;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    kith_profile_event *events = kpy_ids_view(held, what, &ids) ? events_of(list, ids.ids.count) : NULL;
    if (events) {
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_profile_event(held->collection, name, &ids.ids, events, &options, &error);
        Py_END_ALLOW_THREADS;
    }
    kpy_shop_drop(held);
    Py_XDECREF(ids.holder);
    if (!events) return NULL;
    PyMem_Free(events);
    return status == KITH_OK ? Py_NewRef(Py_None) : kpy_fail(status, &error);
}

static PyObject *report_dict(const kith_profile_report *report, const float *vectors) {
    const bool forever = report->half_life_ms == UINT64_MAX;
    const kpy_entry entries[] = {
        {"vector", PyUnicode_FromString(report->vector)},
        {"weights", kpy_copy(report->weights, report->interests, NPY_DOUBLE, sizeof(double))},
        {"vectors", kpy_copy(vectors, report->interests * report->dim, NPY_FLOAT, sizeof(float))},
        {"dim", PyLong_FromSize_t(report->dim)},
        {"interests", PyLong_FromSize_t(report->interests_max)},
        {"seen", PyLong_FromSize_t(report->seen)},
        {"remember", PyLong_FromSize_t(report->seen_max)},
        {"events", kpy_u64(report->events)},
        {"time_ms", kpy_u64(report->time_ms)},
        {"half_life", forever ? Py_NewRef(Py_None) : PyFloat_FromDouble((double)report->half_life_ms * 1e-3)},
        {"threshold", PyFloat_FromDouble(report->threshold)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* _profile(name): a dict; "vectors" is flat. */
PyObject *kpy_collection_profile(PyObject *self, PyObject *object) {
    kith_profile_report report = KITH_PROFILE_REPORT_INIT;
    const char *name;
    float *vectors = NULL;
    size_t room;
    kith_error error = {0};
    kith_status status;
    if (!kpy_take_text(object, "name", &name)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_profile_get(held->collection, name, &report, NULL, 0, &error);
    room = report.dim * KITH_INTERESTS_MAX;
    if (status == KITH_OK && !(vectors = calloc(room + 1, sizeof(*vectors)))) status = KITH_E_NOMEM;
    if (status == KITH_OK) status = kith_collection_profile_get(held->collection, name, &report, vectors, room, &error);
    Py_END_ALLOW_THREADS;
    PyObject *dict = status == KITH_OK ? report_dict(&report, vectors) : kpy_fail(status, &error);
    free(vectors);
    kpy_shop_drop(held);
    return dict;
}

/* _rebuild_profile(name or None, report or None): profiles, events, skipped */
PyObject *kpy_collection_rebuild_profile(PyObject *self, PyObject *args) {
    kith_rebuild_report report = KITH_REBUILD_REPORT_INIT;
    PyObject *object, *function;
    const char *name = NULL;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "OO", &object, &function)) return NULL;
    if (object != Py_None && !kpy_take_text(object, "name", &name)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status =
        kith_collection_profile_rebuild(held->collection, name, kpy_on_progress, &watch, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    kpy_shop_drop(held);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    return Py_BuildValue("KKK", (unsigned long long)report.profiles, (unsigned long long)report.events,
                         (unsigned long long)report.skipped);
}

/* _forget(name) */
PyObject *kpy_collection_forget(PyObject *self, PyObject *object) {
    const char *name;
    kith_error error = {0};
    kith_status status;
    if (!kpy_take_text(object, "name", &name)) return NULL;
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_profile_delete(held->collection, name, &error);
    Py_END_ALLOW_THREADS;
    kpy_shop_drop(held);
    return status == KITH_OK ? Py_NewRef(Py_None) : kpy_fail(status, &error);
}
