/* SPDX-License-Identifier: Apache-2.0
 *
 * What `kith autoscale` is made of, as the command sees it. */
#ifndef KITH_SERVER_SERVE_SCALE_H
#define KITH_SERVER_SERVE_SCALE_H

#include "fleet/arrivals.h"
#include "fleet/look.h"
#include "fleet/scale.h"
#include "fleet/simulate.h"

/* ---- The figure, for those who ask over HTTP: Kubernetes' HPA by way of Prometheus, KEDA, or a person. */

typedef struct ks_teller ks_teller;

typedef struct ks_told {
    unsigned desired, servers, asked;
    ks_scale_sample sample;
    ks_scale_reason reason;
    uint64_t looks;
} ks_told;

/* Answers GET / (JSON), /metrics, /livez and /readyz (once a look was taken) at "address:port". */
kith_status ks_teller_start(const char *address, uint16_t port, ks_teller **teller, kith_error *error);
uint16_t ks_teller_port(const ks_teller *teller);
void ks_teller_tell(ks_teller *teller, const ks_told *told); /* what is told from now on */
void ks_teller_stop(ks_teller *teller);                      /* NULL is fine */

#endif
