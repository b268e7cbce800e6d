/* SPDX-License-Identifier: Apache-2.0
 *
 * The module kith._kith: types, functions, and what Python registers at import. */
#define KITHPY_IMPORTS_NUMPY
#include "src/kithpy.h"

#include <string.h>

struct kpy_hooks kpy_hooks;

PyTypeObject *kpy_add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObjectRef(module, strrchr(spec->name, '.') + 1, type) == 0) return (PyTypeObject *)type;
    Py_XDECREF(type);
    return NULL;
}

/* _register(errors, missing_id, result_type, to_queries, to_filter, explain) */
static PyObject *register_hooks(PyObject *module, PyObject *args) {
    (void)module;
    struct kpy_hooks h = {0};
    if (!PyArg_ParseTuple(args, "O!OO!OOO:_register", &PyTuple_Type, &h.errors, &h.missing_id, &PyType_Type,
                          &h.result_type, &h.to_queries, &h.to_filter, &h.explain))
        return NULL;
    PyObject *all[] = {h.errors, h.missing_id, h.result_type, h.to_queries, h.to_filter, h.explain};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) Py_INCREF(all[i]); /* for the process's life */
    kpy_hooks = h;
    if (!kpy_result_ready()) return NULL;
    Py_RETURN_NONE;
}

PyObject *kpy_dict(const kpy_entry *entries, size_t count) {
    PyObject *dict = PyDict_New();
    for (size_t i = 0; i < count; i++) {
        if (dict && (!entries[i].value || PyDict_SetItemString(dict, entries[i].name, entries[i].value)))
            Py_CLEAR(dict);
        Py_XDECREF(entries[i].value);
    }
    return dict;
}

PyObject *kpy_u64(uint64_t number) {
    return PyLong_FromUnsignedLongLong(number);
}

static PyObject *cpu(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    kith_cpu c = KITH_CPU_INIT;
    kith_error error = {0};
    const kith_status status = kith_cpu_info(&c, &error);
    if (status != KITH_OK) return kpy_fail(status, &error);
    const kpy_entry entries[] = {
        {"tier", PyUnicode_FromString(c.tier)},
        {"tier_found", PyUnicode_FromString(c.tier_found)},
        {"features", PyUnicode_FromString(c.features)},
        {"features_used", PyUnicode_FromString(c.features_used)},
        {"setting", PyUnicode_FromString(c.setting)},
        {"model", PyUnicode_DecodeUTF8(c.model, (Py_ssize_t)strlen(c.model), "replace")},
        {"cores", kpy_u64(c.cores)},
        {"l1d_bytes", kpy_u64(c.l1d_bytes)},
        {"l2_bytes", kpy_u64(c.l2_bytes)},
        {"l3_bytes", kpy_u64(c.l3_bytes)},
        {"threads", kpy_u64(c.threads)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* distance(metric, q, x, bits): two arrays of one axis, q float32 (or bits). */
static PyObject *distance(PyObject *module, PyObject *args) {
    (void)module;
    int metric, bits;
    PyObject *q, *x;
    if (!PyArg_ParseTuple(args, "iO!O!p:distance", &metric, &PyArray_Type, &q, &PyArray_Type, &x, &bits)) return NULL;
    PyArrayObject *one = (PyArrayObject *)q, *two = (PyArrayObject *)x;
    const kith_dtype dtype = kpy_dtype_of(two, bits);
    if (kpy_dtype_of(one, bits) != (bits ? KITH_B1 : KITH_F32) || PyArray_SIZE(one) != PyArray_SIZE(two) ||
        !PyArray_ISCARRAY_RO(one) || !PyArray_ISCARRAY_RO(two))
        return PyErr_Format(PyExc_ValueError, "the two vectors do not fit each other");
    float found;
    const kith_status status = kith_distance((kith_metric)metric, dtype, (size_t)PyArray_SIZE(two) * (bits ? 8 : 1),
                                             PyArray_DATA(one), PyArray_DATA(two), &found);
    if (status == KITH_OK) return PyFloat_FromDouble((double)found);
    if (status == KITH_E_DATA)
        return kpy_raise(status, "a vector is zero (norm below 2^-40) or beyond 2^62 long, which has no cosine");
    return kpy_raise(status, "%s cannot be taken of %zd elements of type %s", kith_metric_name((kith_metric)metric),
                     (Py_ssize_t)PyArray_SIZE(two), kith_dtype_name(dtype));
}

static PyObject *parse_metric(PyObject *module, PyObject *word) {
    (void)module;
    const char *text = PyUnicode_AsUTF8AndSize(word, NULL);
    return text ? PyLong_FromLong((long)kith_metric_parse(text)) : NULL;
}

static PyObject *parse_dtype(PyObject *module, PyObject *word) {
    (void)module;
    const char *text = PyUnicode_AsUTF8AndSize(word, NULL);
    return text ? PyLong_FromLong((long)kith_dtype_parse(text)) : NULL;
}

/* The word for an array's element type as kith names it, or None. */
static PyObject *dtype_of(PyObject *module, PyObject *array) {
    (void)module;
    if (!PyArray_Check(array)) return PyErr_Format(PyExc_TypeError, "dtype_of takes an array");
    const kith_dtype dtype = kpy_dtype_of((PyArrayObject *)array, false);
    if (dtype == KITH_DTYPE_NONE) Py_RETURN_NONE;
    return PyUnicode_FromString(kith_dtype_name(dtype));
}

/* make_result(ids, distances, rows or None, explain): what a pickled result becomes again. */
static PyObject *make_result(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *ids, *distances, *rows, *explain;
    if (!PyArg_ParseTuple(args, "O!O!OO:make_result", &PyArray_Type, &ids, &PyArray_Type, &distances, &rows, &explain))
        return NULL;
    if (PyArray_NDIM((PyArrayObject *)distances) < 1)
        return PyErr_Format(PyExc_ValueError, "distances must have an axis");
    return kpy_result_remake(ids, distances, rows == Py_None ? NULL : rows, explain);
}

static PyMethodDef functions[] = {
    {"_register", register_hooks, METH_VARARGS, NULL},
    {"build", kpy_build, METH_VARARGS, NULL},
    {"cpu", cpu, METH_NOARGS, NULL},
    {"distance", distance, METH_VARARGS, NULL},
    {"dtype_of", dtype_of, METH_O, NULL},
    {"get_threads", kpy_get_threads, METH_NOARGS, NULL},
    {"make_result", make_result, METH_VARARGS, NULL},
    {"parse_dtype", parse_dtype, METH_O, NULL},
    {"parse_metric", parse_metric, METH_O, NULL},
    {"set_threads", kpy_set_threads, METH_O, NULL},
    {"time_search", kpy_time_search, METH_VARARGS, NULL},
    {"tune", kpy_tune, METH_VARARGS, NULL},
    {"verify", kpy_verify, METH_VARARGS, NULL},
    {0},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "kith._kith", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit__kith(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    import_array1(NULL);
    if (kpy_array_init() && kpy_search_init() && kpy_index_init(module) && kpy_filter_init(module) &&
        kpy_result_init(module) && kpy_reader_init(module) &&
        PyModule_AddStringConstant(module, "version", kith_version()) == 0 &&
        PyModule_AddIntConstant(module, "K_MAX", KITH_K_MAX) == 0 &&
        PyModule_AddIntConstant(module, "LISTS_MAX", KITH_LISTS_MAX) == 0 &&
        PyModule_AddIntConstant(module, "THREADS_MAX", KITH_THREADS_MAX) == 0)
        return module;
    Py_DECREF(module);
    return NULL;
}
