/* SPDX-License-Identifier: Apache-2.0
 *
 * Which searches may go together, and which are alike. */
#ifndef KITH_SERVER_RUN_SHAPE_H
#define KITH_SERVER_RUN_SHAPE_H

#include "run/run.h"

/* Set queries, kind (what its cost is learnt under) and mark (0: it goes alone; equal: they may go
 * together). */
void ks_shape_set(ks_search *search);
/* Whether two with the same mark may go together. */
int ks_shape_same(const ks_search *a, const ks_search *b);
/* What it might cost, where nothing was learnt of its kind. */
double ks_shape_guess(const ks_search *search);

#endif
