/* SPDX-License-Identifier: Apache-2.0
 *
 * A budget: what may be done besides, as a share of the calls of the last ten seconds. Retries and hedges are paid from
 * one each, so that a fleet in trouble does not get more work for being in trouble.
 *
 * No clock is read here: whoever calls says what time it is. */
#ifndef KITH_SERVER_FLEET_BUDGET_H
#define KITH_SERVER_FLEET_BUDGET_H

#include <stdint.h>

enum { KS_BUDGET_SLOTS = 10 };

typedef struct ks_budget {
    double share;
    unsigned least;  /* that may be spent in ten seconds however few calls there are */
    uint64_t second; /* of the newest slot */
    uint32_t calls[KS_BUDGET_SLOTS], spent[KS_BUDGET_SLOTS];
    uint64_t taken, refused; /* so far */
} ks_budget;

void ks_budget_call(ks_budget *budget, uint64_t now_ns);
/* 1: it is paid. 0: there is nothing left. */
int ks_budget_take(ks_budget *budget, uint64_t now_ns);

#endif
