/* SPDX-License-Identifier: Apache-2.0
 *
 * What the other files make types and dicts with, and what Python registered at import. It calls none of them. */
#include "src/kithpy.h"

#include <string.h>

struct kpy_hooks kpy_hooks;

PyTypeObject *kpy_add_type(PyObject *module, PyType_Spec *spec) {
    PyObject *type = PyType_FromSpec(spec);
    if (type && PyModule_AddObjectRef(module, strrchr(spec->name, '.') + 1, type) == 0) return (PyTypeObject *)type;
    Py_XDECREF(type);
    return NULL;
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
