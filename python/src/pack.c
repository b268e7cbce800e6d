/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids and payloads on their way in, as fast as C can pack them: what is plain. Everything else is None, and Python
 * (kith/_items.py) looks at it again from the start: it knows more types, and says what is wrong.
 *
 * P1. Only objects of exactly Python's own types are looked into, so that no code of anybody else runs meanwhile, and
 *     nothing changes under our hands.
 * P2. The text is, byte by byte, that of Python's json with the options of kith/_items.py. */
#include "src/kithpy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Deeper ones are Python's, which tells those that contain themselves. */
enum { DEPTH_MAX = 32 };

/* ---- Ids --------------------------------------------------------------------------------------------------------- */

static bool are_ids(const uint64_t *ids, npy_intp count, uint64_t most) {
    uint64_t largest = 0;
    for (npy_intp i = 0; i < count; i++) largest = ids[i] > largest ? ids[i] : largest;
    return largest <= most;
}

/* A view of an array of whole numbers, or NULL without an exception: it is not plain. */
static PyObject *ids_of_array(PyArrayObject *array) {
    const int type = PyArray_TYPE(array);
    if ((type != NPY_INT64 && type != NPY_UINT64) || PyArray_NDIM(array) != 1 || !PyArray_ISCARRAY_RO(array))
        return NULL;
    const uint64_t most = type == NPY_INT64 ? (uint64_t)INT64_MAX : KITH_ID_NONE - 1;
    if (!are_ids(PyArray_DATA(array), PyArray_SIZE(array), most)) return NULL;
    if (type == NPY_UINT64) return Py_NewRef((PyObject *)array);
    return PyArray_View(array, PyArray_DescrFromType(NPY_UINT64), NULL);
}

static PyObject *ids_of_list(PyObject *list) {
    npy_intp count = (npy_intp)PyList_Size(list);
    PyObject *array = PyArray_SimpleNew(1, &count, NPY_UINT64);
    uint64_t *to = array ? PyArray_DATA((PyArrayObject *)array) : NULL;
    for (npy_intp i = 0; array && i < count; i++) {
        PyObject *number = PyList_GetItem(list, (Py_ssize_t)i);
        to[i] = PyLong_CheckExact(number) ? PyLong_AsUnsignedLongLong(number) : KITH_ID_NONE;
        if (to[i] != KITH_ID_NONE) continue;
        PyErr_Clear();
        Py_CLEAR(array);
    }
    return array;
}

/* pack_ids(ids): an array of uint64, or None. */
PyObject *kpy_pack_ids(PyObject *module, PyObject *ids) {
    (void)module;
    PyObject *packed = NULL;
    if (PyArray_CheckExact(ids))
        packed = ids_of_array((PyArrayObject *)ids);
    else if (PyList_CheckExact(ids))
        packed = ids_of_list(ids);
    return packed || PyErr_Occurred() ? packed : Py_NewRef(Py_None);
}

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

struct text {
    char *data;
    size_t bytes, room;
};

/* Room for so many more bytes; false: there is no memory. */
static bool reserve(struct text *text, size_t more) {
    if (text->room - text->bytes >= more) return true;
    size_t room = text->room ? text->room : 256;
    while (room - text->bytes < more) {
        if (room > PY_SSIZE_T_MAX / 2) return false;
        room *= 2;
    }
    char *data = PyMem_Realloc(text->data, room);
    if (!data) return false;
    text->data = data;
    text->room = room;
    return true;
}

static bool put(struct text *text, const char *bytes, size_t count) {
    if (!reserve(text, count)) return false;
    if (count) memcpy(text->data + text->bytes, bytes, count);
    text->bytes += count;
    return true;
}

/* Appends one thing of a list; false, with an exception or without one: this is Python's. */
typedef bool (*put_one)(struct text *text, PyObject *one);

/* (bytes, ends) of the things in a list, or None. */
static PyObject *pack(PyObject *list, put_one one) {
    if (!PyList_CheckExact(list)) Py_RETURN_NONE;
    struct text text = {0};
    npy_intp count = (npy_intp)PyList_Size(list);
    PyObject *ends = PyArray_SimpleNew(1, &count, NPY_UINT64), *bytes = NULL, *pair = NULL;
    uint64_t *end = ends ? PyArray_DATA((PyArrayObject *)ends) : NULL;
    bool plain = ends != NULL;
    for (npy_intp i = 0; plain && i < count; i++) {
        plain = one(&text, PyList_GetItem(list, (Py_ssize_t)i));
        end[i] = text.bytes;
    }
    if (plain) bytes = PyBytes_FromStringAndSize(text.data, (Py_ssize_t)text.bytes);
    if (bytes) pair = PyTuple_Pack(2, bytes, ends);
    PyMem_Free(text.data);
    Py_XDECREF(bytes);
    Py_XDECREF(ends);
    if (plain) return pair;
    PyErr_Clear(); /* Python finds it again, and says more */
    Py_RETURN_NONE;
}

static bool put_id(struct text *text, PyObject *id) {
    Py_ssize_t count;
    const char *from = PyUnicode_CheckExact(id) ? PyUnicode_AsUTF8AndSize(id, &count) : NULL;
    return from && count && put(text, from, (size_t)count);
}

/* pack_texts(list of ids): (bytes, ends), or None. */
PyObject *kpy_pack_texts(PyObject *module, PyObject *ids) {
    (void)module;
    return pack(ids, put_id);
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

/* A character that JSON has another way to write for. */
static bool put_escaped(struct text *text, unsigned char c) {
    static const char with_letter[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    char escape[8];
    const char *at = c ? strchr(with_letter, c) : NULL;
    const int count = at ? snprintf(escape, sizeof(escape), "\\%c", letter[at - with_letter])
                         : snprintf(escape, sizeof(escape), "\\u%04x", c);
    return put(text, escape, (size_t)count);
}

static bool put_string(struct text *text, PyObject *string) {
    Py_ssize_t count;
    const char *from = PyUnicode_AsUTF8AndSize(string, &count);
    if (!from || !reserve(text, (size_t)count + 2)) return false;
    const char *end = from + count;
    text->data[text->bytes++] = '"';
    while (from < end) {
        const char *begin = from;
        while (from < end && (unsigned char)*from >= 0x20 && *from != '"' && *from != '\\') from++;
        if (!put(text, begin, (size_t)(from - begin))) return false;
        if (from < end && !put_escaped(text, (unsigned char)*from++)) return false;
    }
    return put(text, "\"", 1);
}

static bool put_float(struct text *text, PyObject *object) {
    const double value = PyFloat_AsDouble(object);
    char *digits = isfinite(value) ? PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL) : NULL;
    const bool done = digits && put(text, digits, strlen(digits));
    PyMem_Free(digits);
    return done;
}

static bool put_whole(struct text *text, PyObject *object) {
    int beyond = 0;
    char digits[24];
    const long long value = PyLong_AsLongLongAndOverflow(object, &beyond);
    if (beyond) return false;
    return put(text, digits, (size_t)snprintf(digits, sizeof(digits), "%lld", value));
}

static bool put_value(struct text *text, PyObject *value, int depth);

static bool put_list(struct text *text, PyObject *list, int depth) {
    const bool is_list = PyList_CheckExact(list);
    const Py_ssize_t count = is_list ? PyList_Size(list) : PyTuple_Size(list);
    if (!put(text, "[", 1)) return false;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (i && !put(text, ",", 1)) return false;
        if (!put_value(text, is_list ? PyList_GetItem(list, i) : PyTuple_GetItem(list, i), depth)) return false;
    }
    return put(text, "]", 1);
}

static bool put_dict(struct text *text, PyObject *dict, int depth) {
    PyObject *key, *value;
    Py_ssize_t at = 0;
    bool first = true;
    if (!put(text, "{", 1)) return false;
    while (PyDict_Next(dict, &at, &key, &value)) {
        if (!PyUnicode_CheckExact(key) || (!first && !put(text, ",", 1))) return false;
        if (!put_string(text, key) || !put(text, ":", 1) || !put_value(text, value, depth)) return false;
        first = false;
    }
    return put(text, "}", 1);
}

static bool put_value(struct text *text, PyObject *value, int depth) {
    if (PyUnicode_CheckExact(value)) return put_string(text, value);
    if (PyFloat_CheckExact(value)) return put_float(text, value);
    if (PyLong_CheckExact(value)) return put_whole(text, value);
    if (value == Py_None) return put(text, "null", 4);
    if (value == Py_True) return put(text, "true", 4);
    if (value == Py_False) return put(text, "false", 5);
    if (depth == DEPTH_MAX) return false;
    if (PyDict_CheckExact(value)) return put_dict(text, value, depth + 1);
    return (PyList_CheckExact(value) || PyTuple_CheckExact(value)) && put_list(text, value, depth + 1);
}

static bool put_payload(struct text *text, PyObject *payload) {
    return payload == Py_None || (PyDict_CheckExact(payload) && put_dict(text, payload, 0));
}

/* pack_payloads(list of dicts and None): (bytes, ends), or None. */
PyObject *kpy_pack_payloads(PyObject *module, PyObject *payloads) {
    (void)module;
    return pack(payloads, put_payload);
}
