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

/* ---- Items that are told of -------------------------------------------------------------------------------------- */

static void add_bytes(kpy_told *told, const void *data, size_t bytes) {
    if (told->used + bytes > told->room) {
        const size_t room = (told->used + bytes) * 2;
        char *grown = realloc(told->bytes, room);
        if (!grown) {
            told->full = true;
            return;
        }
        told->bytes = grown;
        told->room = room;
    }
    memcpy(told->bytes + told->used, data, bytes);
    told->used += bytes;
}

void kpy_on_told(void *context, uint64_t id, const char *text, size_t text_bytes, const char *about) {
    kpy_told *told = context;
    const size_t sizes[2] = {text_bytes, strlen(about)}, before = told->used;
    if (told->full) return;
    add_bytes(told, &id, sizeof(id));
    add_bytes(told, sizes, sizeof(sizes));
    add_bytes(told, text_bytes ? text : "", text_bytes);
    add_bytes(told, about, sizes[1]);
    if (told->full) told->used = before;
}

PyObject *kpy_told_list(const kpy_told *told) {
    if (told->full) return PyErr_NoMemory();
    PyObject *list = PyList_New(0);
    for (size_t at = 0; list && at < told->used;) {
        uint64_t id;
        size_t sizes[2];
        memcpy(&id, told->bytes + at, sizeof(id));
        memcpy(sizes, told->bytes + at + sizeof(id), sizeof(sizes));
        const char *text = told->bytes + at + sizeof(id) + sizeof(sizes);
        PyObject *name = sizes[0] ? PyUnicode_DecodeUTF8(text, (Py_ssize_t)sizes[0], "replace") : kpy_u64(id);
        PyObject *about = PyUnicode_DecodeUTF8(text + sizes[0], (Py_ssize_t)sizes[1], "replace");
        PyObject *pair = name && about ? PyTuple_Pack(2, name, about) : NULL;
        if (!pair || PyList_Append(list, pair) < 0) Py_CLEAR(list);
        Py_XDECREF(name);
        Py_XDECREF(about);
        Py_XDECREF(pair);
        at += sizeof(id) + sizeof(sizes) + sizes[0] + sizes[1];
    }
    return list;
}

void kpy_told_drop(kpy_told *told) {
    free(told->bytes);
}

/* repair_collection(path, report or None): (items, lost, segments, [(id, why)]) */
PyObject *kpy_repair_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *function, *done = NULL;
    kpy_told lost = {0};
    kith_repair_report report = KITH_REPAIR_REPORT_INIT;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O:repair_collection", PyUnicode_FSConverter, &path, &function)) return NULL;
    kpy_watch watch = kpy_watch_make(function);
    const char *name = PyBytes_AsString(path);
    watch.poll.saved = PyEval_SaveThread();
    const kith_status status =
        kith_collection_repair(name, kpy_on_told, &lost, kpy_on_progress, &watch, &report, &error);
    PyEval_RestoreThread(watch.poll.saved);
    Py_DECREF(path);
    if (kpy_work_done(&watch, status, &error, NULL)) {
        PyObject *list = kpy_told_list(&lost);
        if (list)
            done = Py_BuildValue("KKKN", (unsigned long long)report.items, (unsigned long long)report.lost,
                                 (unsigned long long)report.segments, list);
    }
    kpy_told_drop(&lost);
    return done;
}
