/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for what the library numbers: plans, codes, metrics and element types. */
#include "src/kithpy.h"

#include <string.h>

/* The name of a plan or code by its number, "?" for a number that is none. */
typedef const char *(*name_fn)(int value);

static const char *plan_name(int value) {
    return kith_plan_name((kith_plan)value);
}

static const char *code_name(int value) {
    return kith_scan_code_name((kith_scan_code)value);
}

enum { NUMBERS_MAX = 32 };

static bool is_name(name_fn name, int value) {
    return strcmp(name(value), "?") != 0;
}

/* One more than the last number that has a name. */
static int count_names(name_fn name) {
    int count = NUMBERS_MAX;
    while (count && !is_name(name, count - 1)) count--;
    return count;
}

/* "'auto', 'plain' and 'ivf'" */
static PyObject *list_names(name_fn name) {
    const int count = count_names(name);
    PyObject *text = PyUnicode_FromFormat("'%s'", name(0));
    for (int i = 1; i < count && text; i++) {
        if (!is_name(name, i)) continue;
        PyObject *longer = PyUnicode_FromFormat("%U%s'%s'", text, i + 1 < count ? ", " : " and ", name(i));
        Py_DECREF(text);
        text = longer;
    }
    return text;
}

/* The number of a word, or -1 with an exception. */
static int parse_word(PyObject *value, const char *option, name_fn name) {
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a word, not %R", option, value);
        return -1;
    }
    const int count = count_names(name);
    for (int i = 0; i < count; i++)
        if (is_name(name, i) && PyUnicode_CompareWithASCIIString(value, name(i)) == 0) return i;
    PyObject *all = list_names(name);
    if (!all) return -1;
    kpy_raise(KITH_E_ARG, "%s %R is unknown: %U are", option, value, all);
    Py_DECREF(all);
    return -1;
}

bool kpy_parse_plan(PyObject *value, kith_plan *plan) {
    const int at = parse_word(value, "plan", plan_name);
    if (at >= 0) *plan = (kith_plan)at;
    return at >= 0;
}

bool kpy_parse_code(PyObject *value, kith_scan_code *code) {
    const int at = parse_word(value, "scan_code", code_name);
    if (at >= 0) *code = (kith_scan_code)at;
    return at >= 0;
}

/* Add the names to the module as a tuple, each at its number. */
static bool add_names(PyObject *module, const char *constant, name_fn name) {
    const int count = count_names(name);
    PyObject *names = PyTuple_New(count);
    for (int i = 0; i < count && names; i++) {
        PyObject *word = PyUnicode_FromString(name(i));
        if (!word || PyTuple_SetItem(names, i, word) != 0) Py_CLEAR(names); /* which takes the reference of the word */
    }
    if (names && PyModule_AddObject(module, constant, names) == 0) return true; /* which took the reference */
    Py_XDECREF(names);
    return false;
}

bool kpy_words_init(PyObject *module) {
    return add_names(module, "PLANS", plan_name) && add_names(module, "CODES", code_name);
}

PyObject *kpy_parse_metric(PyObject *module, PyObject *word) {
    (void)module;
    const char *text = PyUnicode_AsUTF8AndSize(word, NULL);
    return text ? PyLong_FromLong((long)kith_metric_parse(text)) : NULL;
}

PyObject *kpy_parse_dtype(PyObject *module, PyObject *word) {
    (void)module;
    const char *text = PyUnicode_AsUTF8AndSize(word, NULL);
    return text ? PyLong_FromLong((long)kith_dtype_parse(text)) : NULL;
}
