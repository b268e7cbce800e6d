/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two halves of `kith autoscale` share. */
#ifndef KITH_CLI_AUTOSCALE_H
#define KITH_CLI_AUTOSCALE_H

#include "command.h"
#include "serve/scale.h"

/* kith autoscale --simulate: options that both take were read. */
int autoscale_simulate(const struct arguments *arguments, const ks_scale_options *scale, double interval_s);

#endif
