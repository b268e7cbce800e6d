/* SPDX-License-Identifier: Apache-2.0
 *
 * The module kith._kith, made of the types and functions of the other files, and what Python registers with it at
 * import. No other file calls this one. */
#include "src/kithpy.h"

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

static PyMethodDef functions[] = {
    {"_register", register_hooks, METH_VARARGS, NULL},
    {"build", kpy_build, METH_VARARGS, NULL},
    {"cpu", kpy_cpu, METH_NOARGS, NULL},
    {"devices", kpy_devices, METH_NOARGS, NULL},
    {"create_collection", kpy_create_collection, METH_VARARGS, NULL},
    {"distance", kpy_distance, METH_VARARGS, NULL},
    {"dtype_of", kpy_array_dtype, METH_O, NULL},
    {"get_threads", kpy_get_threads, METH_NOARGS, NULL},
    {"make_result", kpy_remake, METH_VARARGS, NULL},
    {"pack_ids", kpy_pack_ids, METH_O, NULL},
    {"pack_payloads", kpy_pack_payloads, METH_O, NULL},
    {"pack_texts", kpy_pack_texts, METH_O, NULL},
    {"parse_dtype", kpy_parse_dtype, METH_O, NULL},
    {"parse_metric", kpy_parse_metric, METH_O, NULL},
    {"repair_collection", kpy_repair_collection, METH_VARARGS, NULL},
    {"restore_collection", kpy_restore_collection, METH_VARARGS, NULL},
    {"set_threads", kpy_set_threads, METH_O, NULL},
    {"time_search", kpy_time_search, METH_VARARGS, NULL},
    {"tune", kpy_tune, METH_VARARGS, NULL},
    {"verify", kpy_verify, METH_VARARGS, NULL},
    {"verify_collection", kpy_verify_collection, METH_VARARGS, NULL},
    {0},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "kith._kith", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit__kith(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module) return NULL;
    if (kpy_array_init() && kpy_arguments_init() && kpy_index_init(module) && kpy_filter_init(module) &&
        kpy_result_init(module) && kpy_reader_init(module) && kpy_collection_init(module) && kpy_words_init(module) &&
        PyModule_AddStringConstant(module, "version", kith_version()) == 0 &&
        PyModule_AddIntConstant(module, "K_MAX", KITH_K_MAX) == 0 &&
        PyModule_AddIntConstant(module, "LISTS_MAX", KITH_LISTS_MAX) == 0 &&
        PyModule_AddIntConstant(module, "THREADS_MAX", KITH_THREADS_MAX) == 0)
        return module;
    Py_DECREF(module);
    return NULL;
}
