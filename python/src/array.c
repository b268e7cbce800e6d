/* SPDX-License-Identifier: Apache-2.0
 *
 * NumPy arrays as the library's rows and ids. What lies as the library reads it is viewed; everything else goes to
 * Python (kith/_convert.py), which knows more types and can afford to. NumPy's table of functions lives here. */
#define KITHPY_IMPORTS_NUMPY
#include "src/kithpy.h"

#include <string.h>

/* NumPy numbers foreign types as they register: the number of ml_dtypes.bfloat16, once it has been seen. */
static int bfloat16_number = -1;
static PyObject *name_attribute;

bool kpy_array_init(void) {
    import_array1(false);
    name_attribute = PyUnicode_InternFromString("name");
    return name_attribute != NULL;
}

static bool is_bfloat16(PyArrayObject *array) {
    const int number = PyArray_TYPE(array);
    if (number == bfloat16_number) return true;
    if (number < NPY_USERDEF || PyArray_ITEMSIZE(array) != 2) return false;
    PyObject *name = PyObject_GetAttr((PyObject *)PyArray_DESCR(array), name_attribute);
    const bool same = name && PyUnicode_Check(name) && PyUnicode_CompareWithASCIIString(name, "bfloat16") == 0;
    Py_XDECREF(name);
    PyErr_Clear();
    if (same) bfloat16_number = number;
    return same;
}

kith_dtype kpy_dtype_of(PyArrayObject *array, bool bits) {
    const int number = PyArray_TYPE(array);
    if (bits) return number == NPY_UBYTE ? KITH_B1 : KITH_DTYPE_NONE;
    switch (number) {
    case NPY_FLOAT:
        return KITH_F32;
    case NPY_HALF:
        return KITH_F16;
    case NPY_BYTE:
        return KITH_I8;
    case NPY_UBYTE:
        return KITH_U8;
    default:
        return is_bfloat16(array) ? KITH_BF16 : KITH_DTYPE_NONE;
    }
}

/* The word for an array's element type as kith names it, or None. */
PyObject *kpy_array_dtype(PyObject *module, PyObject *array) {
    (void)module;
    if (!PyArray_Check(array)) return PyErr_Format(PyExc_TypeError, "dtype_of takes an array");
    const kith_dtype dtype = kpy_dtype_of((PyArrayObject *)array, false);
    if (dtype == KITH_DTYPE_NONE) Py_RETURN_NONE;
    return PyUnicode_FromString(kith_dtype_name(dtype));
}

/* True when the library can read the rows as they lie. A class derived from NumPy's may mean more by them than it shows
 * (a masked array hides some): Python looks at those. */
static bool view(PyObject *object, bool bits, kpy_rows *rows) {
    if (!PyArray_CheckExact(object)) return false;
    PyArrayObject *array = (PyArrayObject *)object;
    const int axes = PyArray_NDIM(array);
    const kith_dtype dtype = kpy_dtype_of(array, bits);
    if (dtype == KITH_DTYPE_NONE || (axes != 1 && axes != 2) || !PyArray_ISBEHAVED_RO(array)) return false;
    const npy_intp item = PyArray_ITEMSIZE(array), columns = PyArray_DIM(array, axes - 1);
    const npy_intp count = axes == 2 ? PyArray_DIM(array, 0) : 1, step = axes == 2 ? PyArray_STRIDE(array, 0) : 0;
    if (count > 0 && columns > 1 && PyArray_STRIDE(array, axes - 1) != item) return false;
    if (count > 1 && step < columns * item) return false; /* backwards, or one row many times */
    rows->single = axes == 1;
    rows->q = (kith_queries)KITH_QUERIES_INIT;
    rows->q.data = PyArray_DATA(array);
    rows->q.dtype = dtype;
    rows->q.count = (size_t)count;
    rows->q.dim = (size_t)columns * (bits ? 8 : 1);
    rows->q.stride_bytes = count > 1 ? (size_t)step : 0;
    return true;
}

bool kpy_rows_view(PyObject *object, bool bits, kpy_rows *rows) {
    if (view(object, bits, rows)) {
        Py_INCREF(object);
        rows->owner = object;
        return true;
    }
    PyObject *converted = PyObject_CallFunctionObjArgs(kpy_hooks.to_queries, object, bits ? Py_True : Py_False, NULL);
    if (!converted) return false;
    if (!view(converted, bits, rows)) {
        Py_DECREF(converted);
        PyErr_SetString(PyExc_RuntimeError, "kith._convert made an array that cannot be read");
        return false;
    }
    rows->owner = converted;
    return true;
}

PyArrayObject *kpy_ids_array(PyObject *object, const char *what) {
    const int number = PyArray_Check(object) ? PyArray_TYPE((PyArrayObject *)object) : NPY_NOTYPE;
    /* Two of C's types may have 64 bits, and NumPy gives lists of large numbers the other one. */
    if (number != NPY_UINT64 && !(number == NPY_ULONGLONG && sizeof(npy_ulonglong) == sizeof(uint64_t))) {
        PyErr_Format(PyExc_TypeError, "%s must be an array of uint64", what);
        return NULL;
    }
    return (PyArrayObject *)PyArray_FROMANY(object, NPY_UINT64, 1, 1, NPY_ARRAY_IN_ARRAY);
}

static bool parse_string_id(const kpy_handle *handle, PyObject *object, uint64_t *id) {
    Py_ssize_t bytes;
    const char *text = PyUnicode_AsUTF8AndSize(object, &bytes);
    const kith_status status = text ? kith_index_lookup(handle->index, text, (size_t)bytes, id) : KITH_E_NOTFOUND;
    if (status == KITH_OK) return true;
    PyErr_Clear();
    if (status == KITH_E_NOTFOUND)
        PyErr_Format(kpy_hooks.missing_id, "the index has no id %R", object);
    else if (status == KITH_E_UNSUPPORTED)
        PyErr_Format(kpy_hooks.missing_id, "the index has no id %R: its ids are numbers", object);
    else
        kpy_fail(status, NULL);
    return false;
}

bool kpy_parse_id(const kpy_handle *handle, PyObject *object, uint64_t *id) {
    if (PyUnicode_Check(object)) return parse_string_id(handle, object, id);
    PyObject *number = PyNumber_Index(object); /* numpy.int64 as well as int */
    if (!number) return false;
    *id = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    if (*id == UINT64_MAX) {
        PyErr_Clear();
        PyErr_Format(kpy_hooks.missing_id, "the index has no id %S", object);
        return false;
    }
    return true;
}

PyObject *kpy_string_id(const kpy_handle *handle, uint64_t id) {
    const char *text;
    size_t bytes;
    const kith_status status = kith_index_string_id(handle->index, id, &text, &bytes);
    if (status == KITH_OK) return PyUnicode_DecodeUTF8(text, (Py_ssize_t)bytes, "replace");
    return kpy_fail(status, NULL);
}

PyObject *kpy_string_ids(const kpy_handle *handle, PyArrayObject *rows) {
    PyObject *strings = PyArray_SimpleNew(PyArray_NDIM(rows), PyArray_DIMS(rows), NPY_OBJECT);
    if (!strings) return NULL;
    PyObject **to = PyArray_DATA((PyArrayObject *)strings);
    const uint64_t *from = PyArray_DATA(rows);
    const npy_intp count = PyArray_SIZE(rows);
    for (npy_intp i = 0; i < count; i++) {
        PyObject *text = Py_None, *old = to[i];
        if (from[i] == KITH_ID_NONE)
            Py_INCREF(text);
        else if (!(text = kpy_string_id(handle, from[i])))
            break;
        to[i] = text;
        Py_XDECREF(old);
    }
    if (!PyErr_Occurred()) return strings;
    Py_DECREF(strings);
    return NULL;
}
