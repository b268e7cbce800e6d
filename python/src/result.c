/* SPDX-License-Identifier: Apache-2.0
 *
 * Result: what a search found. A search makes one, so it is a plain object with two or three arrays; the dict of
 * `explain` is made when it is asked for. What people look at (repr, tables) is Python's: kith/_result.py. */
#include "src/kithpy.h"

#include <string.h>

#include <stddef.h>
#include <structmember.h>

typedef struct result {
    PyObject_HEAD PyObject *ids, *distances;
    PyObject *rows; /* NULL: ids are numbers, and rows are the ids */
    PyObject *explained;
    kith_explain explain;
} result;

PyTypeObject *kpy_result_type;
static allocfunc make;

bool kpy_result_ready(void) {
    PyTypeObject *type = (PyTypeObject *)kpy_hooks.result_type;
    if (!PyType_IsSubtype(type, kpy_result_type)) {
        PyErr_SetString(PyExc_TypeError, "the class of results must derive from kith._kith.Result");
        return false;
    }
    make = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    return true;
}

PyObject *kpy_result_make(PyObject *ids, PyObject *distances, PyObject *rows, const kith_explain *explain) {
    result *made = ids && distances ? (result *)make((PyTypeObject *)kpy_hooks.result_type, 0) : NULL;
    if (!made) {
        Py_XDECREF(ids);
        Py_XDECREF(distances);
        Py_XDECREF(rows);
        return NULL;
    }
    made->ids = ids;
    made->distances = distances;
    made->rows = rows;
    made->explain = *explain;
    return (PyObject *)made;
}

static PyObject *remake(PyObject *ids, PyObject *distances, PyObject *rows, PyObject *explain) {
    const kith_explain none = KITH_EXPLAIN_INIT;
    Py_INCREF(ids);
    Py_INCREF(distances);
    Py_XINCREF(rows);
    PyObject *made = kpy_result_make(ids, distances, rows, &none);
    if (!made) return NULL;
    Py_INCREF(explain);
    ((result *)made)->explained = explain;
    return made;
}

/* make_result(ids, distances, rows or None, explain): what a pickled result becomes again. */
PyObject *kpy_remake(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *ids, *distances, *rows, *explain;
    if (!PyArg_ParseTuple(args, "O!O!OO:make_result", &PyArray_Type, &ids, &PyArray_Type, &distances, &rows, &explain))
        return NULL;
    if (PyArray_NDIM((PyArrayObject *)distances) < 1)
        return PyErr_Format(PyExc_ValueError, "distances must have an axis");
    return remake(ids, distances, rows == Py_None ? NULL : rows, explain);
}

static PyObject *or_none(bool known, PyObject *value) {
    if (known) return value;
    Py_XDECREF(value);
    return Py_NewRef(Py_None);
}

static PyObject *code_word(kith_plan plan, kith_scan_code code) {
    return or_none(plan == KITH_PLAN_IVF || (plan == KITH_PLAN_PQ && code != KITH_SCAN_AUTO),
                   PyUnicode_FromString(kith_scan_code_name(code)));
}

/* The plans that were weighed: a list of dicts, the chosen one first. */
static PyObject *considered_list(const kith_explain *e) {
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list && i < e->considered_count; i++) {
        const kith_plan plan = e->considered[i].plan;
        const double ns = e->considered[i].query_ns;
        const kpy_entry entries[] = {
            {"plan", PyUnicode_FromString(kith_plan_name(plan))},
            {"code", code_word(plan, e->considered[i].code)},
            {"nprobe", kpy_u64(kpy_walks(plan) ? 0 : e->considered[i].nprobe)},
            {"effort", kpy_u64(kpy_walks(plan) ? e->considered[i].nprobe : 0)},
            {"rerank", kpy_u64(e->considered[i].rerank)},
            {"recall", PyFloat_FromDouble(e->considered[i].recall)},
            {"query_seconds", or_none(ns > 0, PyFloat_FromDouble(ns * 1e-9))},
            {"why", PyUnicode_FromString(e->considered[i].why)},
        };
        PyObject *dict = kpy_dict(entries, sizeof(entries) / sizeof(*entries));
        if (!dict || PyList_Append(list, dict) != 0) Py_CLEAR(list);
        Py_XDECREF(dict);
    }
    return list;
}

PyObject *kpy_explain_dict(const kith_explain *e) {
    static const char *const stages[KITH_STAGES] = {"prepare", "scan", "rerank", "select"};
    kpy_entry seconds[KITH_STAGES];
    for (int i = 0; i < KITH_STAGES; i++)
        seconds[i] = (kpy_entry){stages[i], PyFloat_FromDouble((double)e->stage_ns[i] * 1e-9)};
    const kpy_entry on_device[] = {{"upload", PyFloat_FromDouble((double)e->device_upload_ns * 1e-9)},
                                   {"compute", PyFloat_FromDouble((double)e->device_compute_ns * 1e-9)},
                                   {"download", PyFloat_FromDouble((double)e->device_download_ns * 1e-9)}};
    const kpy_entry entries[] = {
        {"plan", PyUnicode_FromString(e->plan_name)},
        {"tier", PyUnicode_FromString(e->tier)},
        {"exact", PyBool_FromLong(e->exact)},
        {"threads", kpy_u64(e->threads)},
        {"queries", kpy_u64(e->queries)},
        {"rows", kpy_u64(e->rows)},
        {"allowed", kpy_u64(e->allowed)},
        {"nprobe", kpy_u64(e->nprobe)},
        {"effort", kpy_u64(e->effort)},
        {"rerank", kpy_u64(e->rerank)},
        {"code", code_word(e->plan, e->code)},
        {"unusual", kpy_u64(e->unusual)},
        {"probed_lists", kpy_u64(e->probed_lists)},
        {"scanned_rows", kpy_u64(e->scanned_rows)},
        {"scanned_bytes", kpy_u64(e->scanned_bytes)},
        {"level1_survivors", kpy_u64(e->level1_survivors)},
        {"candidates", kpy_u64(e->candidates)},
        {"reranked", kpy_u64(e->reranked)},
        {"visited", kpy_u64(e->visited)},
        {"hot", PyBool_FromLong(e->hot)},
        {"device", PyUnicode_DecodeUTF8(e->device, (Py_ssize_t)strlen(e->device), "replace")},
        {"device_seconds", kpy_dict(on_device, 3)},
        {"seconds", PyFloat_FromDouble((double)e->total_ns * 1e-9)},
        {"stage_seconds", kpy_dict(seconds, KITH_STAGES)},
        {"considered", considered_list(e)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

static PyObject *get_explain(PyObject *self, void *unused) {
    (void)unused;
    result *r = (result *)self;
    if (!r->explained) {
        PyObject *dict = kpy_explain_dict(&r->explain);
        r->explained = dict ? PyObject_CallFunctionObjArgs(kpy_hooks.explain, dict, NULL) : NULL;
        Py_XDECREF(dict);
    }
    Py_XINCREF(r->explained);
    return r->explained;
}

static PyObject *get_rows(PyObject *self, void *unused) {
    (void)unused;
    result *r = (result *)self;
    PyObject *rows = r->rows ? r->rows : r->ids;
    Py_INCREF(rows);
    return rows;
}

static PyObject *iterate(PyObject *self) {
    result *r = (result *)self;
    PyObject *pair = PyTuple_Pack(2, r->ids, r->distances);
    PyObject *iterator = pair ? PyObject_GetIter(pair) : NULL;
    Py_XDECREF(pair);
    return iterator;
}

/* A result is a pair, whichever way it is looked at: by unpacking, by place, or by its length. */
static Py_ssize_t length(PyObject *self) {
    (void)self;
    return 2;
}

static PyObject *item(PyObject *self, Py_ssize_t at) {
    result *r = (result *)self;
    if (at == 0) return Py_NewRef(r->ids);
    if (at == 1) return Py_NewRef(r->distances);
    PyErr_SetString(PyExc_IndexError, "a result is a pair: [0] ids, [1] distances");
    return NULL;
}

static void dealloc(PyObject *self) {
    result *r = (result *)self;
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(r->ids);
    Py_XDECREF(r->distances);
    Py_XDECREF(r->rows);
    Py_XDECREF(r->explained);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"ids", T_OBJECT_EX, offsetof(result, ids), READONLY, NULL},
    {"distances", T_OBJECT_EX, offsetof(result, distances), READONLY, NULL},
    {0},
};
static PyGetSetDef getters[] = {
    {"explain", get_explain, NULL, NULL, NULL},
    {"rows", get_rows, NULL, NULL, NULL},
    {0},
};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_tp_members, members},
    {Py_tp_getset, getters},
    {Py_tp_iter, iterate},
    {Py_sq_length, length},
    {Py_sq_item, item},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "kith._kith.Result",
    .basicsize = sizeof(result),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

bool kpy_result_init(PyObject *module) {
    kpy_result_type = kpy_add_type(module, &spec);
    return kpy_result_type != NULL;
}
