/* SPDX-License-Identifier: Apache-2.0
 *
 * Making a collection: from what Python worked out to the library's options. */
#include "src/shop.h"

bool kpy_take_spec(PyObject *tuple, kith_vector_spec *spec) {
    Py_ssize_t dim;
    int dtype, metric;
    if (!PyArg_ParseTuple(tuple, "snii", &spec->name, &dim, &dtype, &metric)) return false;
    spec->dim = (size_t)dim;
    spec->dtype = (kith_dtype)dtype;
    spec->metric = (kith_metric)metric;
    return true;
}

bool kpy_made_of(PyObject *tuple, kith_collection_options *made, kith_vector_spec **specs, kith_field **fields) {
    PyObject *vectors, *names;
    int strings;
    if (!PyArg_ParseTuple(tuple, "pO!O!zz", &strings, &PyList_Type, &vectors, &PyList_Type, &names,
                          &made->segment_field, &made->model))
        return false;
    const Py_ssize_t vector_count = PyList_Size(vectors), field_count = PyList_Size(names);
    *specs = PyMem_Calloc((size_t)vector_count + 1, sizeof(**specs));
    *fields = PyMem_Calloc((size_t)field_count + 1, sizeof(**fields));
    if (!*specs || !*fields) return PyErr_NoMemory() != NULL;
    for (Py_ssize_t i = 0; i < vector_count; i++)
        if (!kpy_take_spec(PyList_GetItem(vectors, i), &(*specs)[i])) return false;
    for (Py_ssize_t i = 0; i < field_count; i++) {
        const char *type;
        if (!PyArg_ParseTuple(PyList_GetItem(names, i), "ss", &(*fields)[i].name, &type)) return false;
        if (!kith_field_type_parse(type, &(*fields)[i].type)) {
            kpy_raise(KITH_E_ARG, "fields: '%s' is no type: tag, tags, int, float, bool and time are", type);
            return false;
        }
    }
    made->id_kind = strings ? KITH_ID_STRING : KITH_ID_U64;
    made->vectors = *specs;
    made->vector_count = (size_t)vector_count;
    made->fields = *fields;
    made->field_count = (size_t)field_count;
    return true;
}

/* create_collection(path, made) */
PyObject *kpy_create_collection(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *path, *tuple;
    kith_collection_options made = KITH_COLLECTION_OPTIONS_INIT;
    kith_vector_spec *specs = NULL;
    kith_field *fields = NULL;
    kith_error error = {0};
    if (!PyArg_ParseTuple(args, "O&O!:create_collection", PyUnicode_FSConverter, &path, &PyTuple_Type, &tuple))
        return NULL;
    bool fine = kpy_made_of(tuple, &made, &specs, &fields);
    if (fine) {
        const char *name = PyBytes_AsString(path);
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_collection_create(name, &made, &error);
        Py_END_ALLOW_THREADS;
        if (status != KITH_OK) kpy_fail(status, &error);
        fine = status == KITH_OK;
    }
    Py_DECREF(path);
    PyMem_Free(specs);
    PyMem_Free(fields);
    if (!fine) return NULL;
    Py_RETURN_NONE;
}
