/* SPDX-License-Identifier: Apache-2.0
 *
 * Filter: a set of allowed ids, made once and used by any number of searches, or what is left of all ids, or of
 * another filter's, without such a set. It keeps its index open (Y1). */
#include "src/kithpy.h"

PyTypeObject *kpy_filter_type;

/* Filter._make(index, ids as uint64): strings were looked up before (kith/_convert.py). */
static PyObject *filter_make(PyObject *class, PyObject *args) {
    PyObject *index, *object;
    Py_ssize_t unknown_before = 0;
    if (!PyArg_ParseTuple(args, "O!On:_make", kpy_index_type, &index, &object, &unknown_before)) return NULL;
    kpy_handle *handle = kpy_index_handle((kpy_index *)index);
    PyArrayObject *ids = handle ? kpy_ids_array(object, "allow") : NULL;
    if (!ids) return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)class, Py_tp_alloc);
    kpy_filter *made = (kpy_filter *)alloc((PyTypeObject *)class, 0);
    if (made) {
        kith_error error = {0};
        made->handle = handle;
        handle->refs++;
        kith_status status;
        Py_BEGIN_ALLOW_THREADS;
        status = kith_filter_create(handle->index, PyArray_DATA(ids), (size_t)PyArray_SIZE(ids), &made->unknown,
                                    &made->filter, &error);
        Py_END_ALLOW_THREADS;
        made->unknown += (size_t)unknown_before;
        if (status != KITH_OK) {
            kpy_fail(status, &error);
            Py_DECREF(made);
            made = NULL;
        }
    }
    Py_DECREF(ids);
    return (PyObject *)made;
}

/* Filter._except(allow or None, deny): what the first lets through, or all, and the second does not. */
static PyObject *filter_except(PyObject *class, PyObject *args) {
    PyObject *allow, *deny;
    if (!PyArg_ParseTuple(args, "OO!:_except", &allow, kpy_filter_type, &deny)) return NULL;
    if (allow != Py_None && !PyObject_TypeCheck(allow, kpy_filter_type))
        return PyErr_Format(PyExc_TypeError, "allow must be a Filter or None");
    kpy_filter *from = allow == Py_None ? NULL : (kpy_filter *)allow, *less = (kpy_filter *)deny;
    allocfunc alloc = (allocfunc)PyType_GetSlot((PyTypeObject *)class, Py_tp_alloc);
    kpy_filter *made = (kpy_filter *)alloc((PyTypeObject *)class, 0);
    if (!made) return NULL;
    kith_error error = {0};
    kith_status status;
    made->handle = less->handle;
    made->handle->refs++;
    made->unknown = less->unknown + (from ? from->unknown : 0);
    Py_BEGIN_ALLOW_THREADS;
    status = kith_filter_create_except(from ? from->filter : NULL, less->filter, &made->filter, &error);
    Py_END_ALLOW_THREADS;
    if (status == KITH_OK) return (PyObject *)made;
    kpy_fail(status, &error);
    Py_DECREF(made);
    return NULL;
}

static void filter_dealloc(PyObject *self) {
    kpy_filter *filter = (kpy_filter *)self;
    PyTypeObject *type = Py_TYPE(self);
    kith_filter_destroy(filter->filter);
    kpy_handle_drop(filter->handle);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static Py_ssize_t filter_length(PyObject *self) {
    return (Py_ssize_t)kith_filter_count(((kpy_filter *)self)->filter);
}

static PyObject *filter_unknown(PyObject *self, void *unused) {
    (void)unused;
    return PyLong_FromSize_t(((kpy_filter *)self)->unknown);
}

static PyMethodDef methods[] = {
    {"_make", filter_make, METH_VARARGS | METH_CLASS, NULL},
    {"_except", filter_except, METH_VARARGS | METH_CLASS, NULL},
    {0},
};
static PyGetSetDef getters[] = {
    {"unknown", filter_unknown, NULL, "How many of the ids the index does not hold.", NULL},
    {0},
};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, filter_dealloc},
    {Py_tp_methods, methods},
    {Py_tp_getset, getters},
    {Py_sq_length, filter_length},
    {0, NULL},
};
static PyType_Spec spec = {
    .name = "kith._kith.Filter",
    .basicsize = sizeof(kpy_filter),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = slots,
};

bool kpy_filter_init(PyObject *module) {
    kpy_filter_type = kpy_add_type(module, &spec);
    return kpy_filter_type != NULL;
}
