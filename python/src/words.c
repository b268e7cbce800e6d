/* SPDX-License-Identifier: Apache-2.0
 *
 * Words for what the library numbers: plans, codes, metrics and element types. */
#include "src/kithpy.h"

static const char *const plan_words[] = {"auto", "plain", "scan", "levels", "gather", "ivf"};
static const char *const code_words[] = {"auto", "int8", "second", "levels", "first"};
enum { PLANS = sizeof(plan_words) / sizeof(*plan_words), CODES = sizeof(code_words) / sizeof(*code_words) };

const char *kpy_plan_word(kith_plan plan) {
    return (unsigned)plan < PLANS ? plan_words[plan] : "?";
}

const char *kpy_code_word(kith_scan_code code) {
    return (unsigned)code < CODES ? code_words[code] : "?";
}

/* The place of a word in a list, or -1 with an exception. */
static int parse_word(PyObject *value, const char *name, const char *const *words, int count, const char *all) {
    if (!PyUnicode_Check(value)) {
        PyErr_Format(PyExc_TypeError, "%s must be a word, not %R", name, value);
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (PyUnicode_CompareWithASCIIString(value, words[i]) == 0) return i;
    kpy_raise(KITH_E_ARG, "%s %R is unknown: %s are", name, value, all);
    return -1;
}

bool kpy_parse_plan(PyObject *value, kith_plan *plan) {
    const int at =
        parse_word(value, "plan", plan_words, PLANS, "'auto', 'plain', 'scan', 'levels', 'gather' and 'ivf'");
    if (at >= 0) *plan = (kith_plan)at;
    return at >= 0;
}

bool kpy_parse_code(PyObject *value, kith_scan_code *code) {
    const int at = parse_word(value, "scan_code", code_words, CODES, "'auto', 'int8', 'second', 'levels' and 'first'");
    if (at >= 0) *code = (kith_scan_code)at;
    return at >= 0;
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
