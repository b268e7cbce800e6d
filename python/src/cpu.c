/* SPDX-License-Identifier: Apache-2.0
 *
 * What needs no index: the machine, and the defining distance. */
#include "src/kithpy.h"

#include <string.h>

PyObject *kpy_cpu(PyObject *module, PyObject *none) {
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

static PyObject *text_of(const char *text) {
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
}

PyObject *kpy_devices(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list; i++) {
        kith_device d = KITH_DEVICE_INIT;
        kith_error error = {0};
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_device_get(i, &d, &error);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) break; /* there are no more, or none at all */
        const kpy_entry entries[] = {
            {"backend", text_of(d.backend)},           {"name", text_of(d.name)},   {"driver", text_of(d.driver)},
            {"memory_bytes", kpy_u64(d.memory_bytes)}, {"units", kpy_u64(d.units)}, {"obstacle", text_of(d.obstacle)},
        };
        PyObject *device = kpy_dict(entries, sizeof(entries) / sizeof(*entries));
        if (!device || PyList_Append(list, device)) Py_CLEAR(list);
        Py_XDECREF(device);
    }
    return list;
}

/* distance(metric, q, x, bits): two arrays of one axis, q float32 (or bits). */
PyObject *kpy_distance(PyObject *module, PyObject *args) {
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
