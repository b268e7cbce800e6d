/* SPDX-License-Identifier: Apache-2.0
 *
 * Search of a collection. */
#include "src/shop.h"

#include <math.h>
#include <string.h>

struct asking {
    kpy_shop *held;
    kith_ask ask;
    uint32_t generation; /* that will be asked, by what is known before */
    kith_leg *legs, one;
    kpy_rows *rows, one_rows;
    Py_ssize_t leg_count;
    kith_ask_report report;
    kith_explain explain;
    kpy_poll poll;
    kith_result *result;
    kith_error error;
};

/* weight: NULL or None for 1. */
static bool take_leg(struct asking *asking, Py_ssize_t at, PyObject *number, PyObject *queries, PyObject *weight) {
    const kpy_shop *held = asking->held;
    const size_t vector = PyLong_AsSize_t(number);
    bool bits;
    if (PyErr_Occurred()) return false;
    if (vector >= held->vectors) return kpy_raise(KITH_E_ARG, "no such vector") != NULL;
    if (!kpy_spec_bits(held, asking->generation, vector, &bits) || !kpy_rows_view(queries, bits, &asking->rows[at]))
        return false;
    asking->legs[at] = (kith_leg){.vector = held->names[vector], .queries = &asking->rows[at].q};
    if (weight && weight != Py_None) asking->legs[at].weight = PyFloat_AsDouble(weight);
    return !PyErr_Occurred();
}

/* A tuple (number of the vector, queries), or a list of (number, queries, weight or None); None: a profile alone. */
static bool take_legs(struct asking *asking, PyObject *legs) {
    asking->legs = &asking->one;
    asking->rows = &asking->one_rows;
    asking->leg_count = legs == Py_None ? 0 : 1;
    asking->one_rows.single = true;
    if (legs == Py_None) return true;
    if (PyTuple_Check(legs) && PyTuple_Size(legs) == 2)
        return take_leg(asking, 0, PyTuple_GetItem(legs, 0), PyTuple_GetItem(legs, 1), NULL);
    const Py_ssize_t count = PyList_Size(legs);
    if (count < 0) return false;
    if (count > 1) {
        asking->legs = PyMem_Calloc((size_t)count, sizeof(*asking->legs));
        asking->rows = PyMem_Calloc((size_t)count, sizeof(*asking->rows));
        asking->leg_count = count;
        if (!asking->legs || !asking->rows) return PyErr_NoMemory() != NULL;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *number, *queries, *weight;
        if (!PyArg_ParseTuple(PyList_GetItem(legs, i), "OOO", &number, &queries, &weight) ||
            !take_leg(asking, i, number, queries, weight))
            return false;
    }
    return true;
}

/* None, or (profile or None, blend, leave out what was seen, diversity) */
static bool take_profile(kith_ask *ask, PyObject *tuple) {
    PyObject *name;
    if (tuple == Py_None) return true;
    return PyArg_ParseTuple(tuple, "Odpd", &name, &ask->blend, &ask->leave_out_seen, &ask->diversity) &&
           kpy_take_text(name, "profile", &ask->profile);
}

/* legs, k, filter, segment, target recall, plan, with, least version, timeout in ns, model, explain, profile,
 * generation, user */
enum {
    A_LEGS,
    A_K,
    A_FILTER,
    A_SEGMENT,
    A_TARGET,
    A_PLAN,
    A_WITH,
    A_VERSION,
    A_TIMEOUT,
    A_MODEL,
    A_EXPLAIN,
    A_PROFILE,
    A_GENERATION,
    A_USER,
    A_COUNT
};

/* The library itself finds out where a user is sent, in the state that it searches. */
static bool take_generation(struct asking *asking, PyObject *number, PyObject *user) {
    kith_error error = {0};
    asking->ask.generation = asking->generation = (uint32_t)PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred() || !kpy_take_text(user, "user", &asking->ask.user)) return false;
    if (!asking->ask.user || asking->generation) return true;
    const kith_status status =
        kith_collection_generation_of(asking->held->collection, asking->ask.user, &asking->generation, &error);
    return status == KITH_OK || kpy_fail(status, &error);
}

static bool take_ask(struct asking *asking, PyObject *const *args) {
    kith_ask *ask = &asking->ask;
    *ask = (kith_ask)KITH_ASK_INIT;
    asking->report = (kith_ask_report)KITH_ASK_REPORT_INIT;
    asking->explain = (kith_explain)KITH_EXPLAIN_INIT;
    if (!kpy_parse_k(args[A_K], &ask->k) || !kpy_take_text(args[A_FILTER], "where", &ask->filter) ||
        !kpy_take_text(args[A_SEGMENT], "segment", &ask->segment) ||
        !kpy_take_text(args[A_MODEL], "model", &ask->model))
        return false;
    ask->target_recall = PyFloat_AsDouble(args[A_TARGET]);
    if (args[A_PLAN] != Py_None && !kpy_parse_plan(args[A_PLAN], &ask->plan)) return false;
    ask->with = (unsigned)PyLong_AsUnsignedLong(args[A_WITH]);
    ask->min_version = PyLong_AsUnsignedLongLong(args[A_VERSION]);
    ask->timeout_ns = PyLong_AsUnsignedLongLong(args[A_TIMEOUT]);
    ask->cancelled = kpy_poll_signals;
    ask->cancelled_context = &asking->poll;
    ask->report = args[A_EXPLAIN] == Py_True ? &asking->report : NULL;
    ask->explain = args[A_EXPLAIN] == Py_True ? &asking->explain : NULL;
    if (PyErr_Occurred() || !take_profile(ask, args[A_PROFILE]) ||
        !take_generation(asking, args[A_GENERATION], args[A_USER]) || !take_legs(asking, args[A_LEGS]))
        return false;
    ask->legs = asking->legs;
    ask->leg_count = (size_t)asking->leg_count;
    return true;
}

static PyObject *ask_report_dict(const kith_ask_report *report, const kith_explain *explain) {
    const kpy_entry entries[] = {
        {"version", kpy_u64(report->version)},
        {"generation", PyLong_FromUnsignedLong(report->generation)},
        {"items", kpy_u64(report->items)},
        {"matched", kpy_u64(report->matched)},
        {"segments", kpy_u64(report->segments)},
        {"heads", kpy_u64(report->heads)},
        {"head_rows", kpy_u64(report->head_rows)},
        {"exact", PyBool_FromLong(report->exact)},
        {"read_payloads", PyBool_FromLong(report->read_payloads)},
        {"filter", PyUnicode_FromString(report->filter_how)},
        {"filter_seconds", PyFloat_FromDouble((double)report->filter_ns * 1e-9)},
        {"segments_seconds", PyFloat_FromDouble((double)report->segments_ns * 1e-9)},
        {"head_seconds", PyFloat_FromDouble((double)report->head_ns * 1e-9)},
        {"read_seconds", PyFloat_FromDouble((double)report->read_ns * 1e-9)},
        {"seconds", PyFloat_FromDouble((double)report->total_ns * 1e-9)},
        {"search", kpy_explain_dict(explain)},
    };
    return kpy_dict(entries, sizeof(entries) / sizeof(*entries));
}

/* Ids and distances as arrays of (queries, k), or (k,) for a single query; what is missing is filled up. */
static bool shaped(const struct asking *asking, const kith_hits *hits, PyObject **ids, PyObject **distances) {
    const size_t k = asking->ask.k;
    npy_intp shape[2] = {(npy_intp)hits->queries, (npy_intp)k};
    const int axes = asking->rows[0].single ? 1 : 2;
    int type = NPY_INT64;
    for (size_t i = 0; i < hits->count; i++)
        if (hits->ids[i] > (uint64_t)INT64_MAX) type = NPY_UINT64;
    *ids = PyArray_SimpleNew(axes, shape + 2 - axes, type);
    *distances = *ids ? PyArray_SimpleNew(axes, shape + 2 - axes, NPY_FLOAT) : NULL;
    if (!*distances) return false;
    uint64_t *id = PyArray_DATA((PyArrayObject *)*ids), from = 0;
    float *distance = PyArray_DATA((PyArrayObject *)*distances);
    for (size_t q = 0; q < hits->queries; q++, id += k, distance += k) {
        const size_t found = (size_t)(hits->ends[q] - from);
        if (found) memcpy(id, hits->ids + from, found * sizeof(*id));
        if (found) memcpy(distance, hits->distances + from, found * sizeof(*distance));
        for (size_t i = found; i < k; i++) {
            id[i] = KITH_ID_NONE;
            distance[i] = INFINITY;
        }
        from = hits->ends[q];
    }
    return true;
}

/* (ids, distances, ends, texts or None, payloads or None, versions or None, expiries or None, vectors or None, report
 * or None): the arrays beyond the second one have an entry a hit. */
static PyObject *answer_of(const struct asking *asking) {
    kith_hits hits = KITH_HITS_INIT;
    PyObject *ids = NULL, *distances = NULL;
    kith_result_hits(asking->result, &hits);
    if (!shaped(asking, &hits, &ids, &distances)) {
        Py_XDECREF(ids);
        return NULL;
    }
    PyObject *parts[] = {
        ids,
        distances,
        kpy_copy(hits.ends, hits.queries, NPY_UINT64, sizeof(uint64_t)),
        kpy_texts_of(hits.id_bytes, hits.id_ends, hits.count),
        kpy_texts_of(hits.payload_bytes, hits.payload_ends, hits.count),
        kpy_copy(hits.versions, hits.count, NPY_UINT64, sizeof(uint64_t)),
        kpy_copy(hits.expires_ms, hits.count, NPY_UINT64, sizeof(uint64_t)),
        asking->ask.with & KITH_WITH_VECTORS ? kpy_vectors_of(asking->held, asking->result, hits.count)
                                             : Py_NewRef(Py_None),
        asking->ask.report ? ask_report_dict(&asking->report, &asking->explain) : Py_NewRef(Py_None),
    };
    return kpy_tuple_of(parts, sizeof(parts) / sizeof(*parts));
}

PyObject *kpy_collection_search(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    struct asking asking = {0};
    PyObject *answer = NULL;
    if (count != A_COUNT) return PyErr_Format(PyExc_TypeError, "_search takes %d arguments", A_COUNT);
    if (!(asking.held = kpy_shop_hold(self))) return NULL;
    if (take_ask(&asking, args) && (asking.result = kpy_result_take(asking.held))) {
        asking.poll.saved = PyEval_SaveThread();
        const kith_status status =
            kith_collection_search(asking.held->collection, &asking.ask, asking.result, &asking.error);
        PyEval_RestoreThread(asking.poll.saved);
        if (!asking.poll.raised) answer = status == KITH_OK ? answer_of(&asking) : kpy_fail(status, &asking.error);
    }
    if (asking.result) kpy_result_give(asking.held, asking.result);
    for (Py_ssize_t i = 0; asking.rows && i < asking.leg_count; i++) Py_XDECREF(asking.rows[i].owner);
    if (asking.leg_count > 1) {
        PyMem_Free(asking.legs);
        PyMem_Free(asking.rows);
    }
    kpy_shop_drop(asking.held);
    return answer;
}
