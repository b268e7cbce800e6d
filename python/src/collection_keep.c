/* SPDX-License-Identifier: Apache-2.0
 *
 * Keeping collections: compaction, copies, verification and repair. */
#include "src/shop.h"

#include <stdlib.h>
#include <string.h>

/* _compact(report or None) */
PyObject *kpy_collection_compact(PyObject *self, PyObject *function) {
    kpy_watch watch = kpy_watch_make(function);
    kith_error error = {0};
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) return NULL;
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_compact(held->collection, kpy_on_progress, &watch, &error);
    PyEval_RestoreThread(watch.poll.saved);
    kpy_shop_drop(held);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    Py_RETURN_NONE;
}

/* _snapshot(path) */
PyObject *kpy_collection_snapshot(PyObject *self, PyObject *object) {
    PyObject *path = NULL;
    kith_error error = {0};
    kith_status status;
    if (!PyUnicode_FSConverter(object, &path)) return NULL;
    const char *name = PyBytes_AsString(path);
    kpy_shop *held = kpy_shop_hold(self);
    if (!held) {
        Py_DECREF(path);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS;
    status = kith_collection_snapshot(held->collection, name, &error);
    Py_END_ALLOW_THREADS;
    kpy_shop_drop(held);
    Py_DECREF(path);
    if (status != KITH_OK) return kpy_fail(status, &error);
    Py_RETURN_NONE;
}

/* restore_collection(from, to, report or None) */
PyObject *kpy_restore_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *from, *to, *function;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O&O:restore_collection", PyUnicode_FSConverter, &from, PyUnicode_FSConverter, &to,
                          &function))
        return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *source = PyBytes_AsString(from), *target = PyBytes_AsString(to);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_restore(source, target, kpy_on_progress, &watch, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(from);
    Py_DECREF(to);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    Py_RETURN_NONE;
}

/* verify_collection(path, report or None) */
PyObject *kpy_verify_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *function;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O:verify_collection", PyUnicode_FSConverter, &path, &function)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *name = PyBytes_AsString(path);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_verify(name, NULL, kpy_on_progress, &watch, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(path);
    if (!kpy_work_done(&watch, status, &error, NULL)) return NULL;
    Py_RETURN_NONE;
}

/* What kith_collection_repair() tells of is kept as C memory, since it comes without the GIL. */
struct lost {
    char *bytes;
    size_t used, room;
    bool full;
};

static void add_lost(struct lost *lost, const void *data, size_t bytes) {
    if (lost->used + bytes > lost->room) {
        const size_t room = (lost->used + bytes) * 2;
        char *grown = realloc(lost->bytes, room);
        if (!grown) {
            lost->full = true;
            return;
        }
        lost->bytes = grown;
        lost->room = room;
    }
    memcpy(lost->bytes + lost->used, data, bytes);
    lost->used += bytes;
}

static void on_lost(void *context, uint64_t id, const char *text, size_t text_bytes, const char *why) {
    struct lost *lost = context;
    const size_t sizes[2] = {text_bytes, strlen(why)};
    if (lost->full) return;
    add_lost(lost, &id, sizeof(id));
    add_lost(lost, sizes, sizeof(sizes));
    add_lost(lost, text_bytes ? text : "", text_bytes);
    add_lost(lost, why, sizes[1]);
}

/* [(id, why)] */
static PyObject *lost_list(const struct lost *lost) {
    PyObject *list = PyList_New(0);
    for (size_t at = 0; list && at < lost->used;) {
        uint64_t id;
        size_t sizes[2];
        memcpy(&id, lost->bytes + at, sizeof(id));
        memcpy(sizes, lost->bytes + at + sizeof(id), sizeof(sizes));
        const char *text = lost->bytes + at + sizeof(id) + sizeof(sizes);
        PyObject *name = sizes[0] ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)sizes[0], "replace") : kpy_u64(id);
        PyObject *why = PyUnicode_DecodeUTF8(text + sizes[0], (Py_ssize_t)sizes[1], "replace");
        PyObject *pair = name && why ? PyTuple_Pack(2, name, why) : NULL;
        if (!pair || PyList_Append(list, pair) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
        Py_XDECREF(why);
        Py_XDECREF(pair);
        at += sizeof(id) + sizeof(sizes) + sizes[0] + sizes[1];
    }
    return list;
}

/* repair_collection(path, report or None): (items, lost, segments, [(id, why)]) */
PyObject *kpy_repair_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *function, *done = NULL;
    struct lost lost = {0};
    kith_repair_report report = KITH_REPAIR_REPORT_INIT;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O:repair_collection", PyUnicode_FSConverter, &path, &function)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *name = PyBytes_AsString(path);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status = kith_collection_repair(name, on_lost, &lost, kpy_on_progress, &watch, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(path);
    if (kpy_work_done(&watch, status, &error, NULL)) {
        PyObject *list = lost.full ? PyErr_NoMemory() : lost_list(&lost);
        if (list)
            done = Py_BuildValue("KKKN", (unsigned long long)report.items, (unsigned long long)report.lost,
                                 (unsigned long long)report.segments, list);
    }
    free(lost.bytes);
    return done;
}
