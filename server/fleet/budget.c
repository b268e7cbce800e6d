/* SPDX-License-Identifier: Apache-2.0
 *
 * A budget: a share of the calls of the last ten seconds, in slots of a second. */
#include "fleet/budget.h"

#define SECOND UINT64_C(1000000000)

static unsigned turn(ks_budget *budget, uint64_t now_ns) {
    const uint64_t second = now_ns / SECOND;
    uint64_t steps = second > budget->second ? second - budget->second : 0;
    if (steps > KS_BUDGET_SLOTS) steps = KS_BUDGET_SLOTS;
    for (uint64_t i = 0; i < steps; i++) {
        const unsigned slot = (unsigned)((second - i) % KS_BUDGET_SLOTS);
        budget->calls[slot] = budget->spent[slot] = 0;
    }
    if (second > budget->second) budget->second = second;
    return (unsigned)(budget->second % KS_BUDGET_SLOTS);
}

void ks_budget_call(ks_budget *budget, uint64_t now_ns) {
    budget->calls[turn(budget, now_ns)]++;
}

int ks_budget_take(ks_budget *budget, uint64_t now_ns) {
    const unsigned slot = turn(budget, now_ns);
    uint64_t calls = 0, spent = 0;
    for (unsigned i = 0; i < KS_BUDGET_SLOTS; i++) {
        calls += budget->calls[i];
        spent += budget->spent[i];
    }
    const double room = budget->share * (double)calls;
    if (spent >= budget->least && (double)(spent + 1) > room) {
        budget->refused++;
        return 0;
    }
    budget->spent[slot]++;
    budget->taken++;
    return 1;
}
