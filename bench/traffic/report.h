/* SPDX-License-Identifier: Apache-2.0
 *
 * How a description of a trace is shown: to people, to programs, as a picture. */
#ifndef KITH_TRAFFIC_REPORT_H
#define KITH_TRAFFIC_REPORT_H

#include <stdio.h>

#include "describe.h"

void traffic_report_text(FILE *stream, const struct traffic_description *description);
void traffic_report_json(FILE *stream, const struct traffic_description *description);
kith_status traffic_report_svg(const char *path, const struct traffic_description *description, kith_error *error);
/* The options as members of one JSON object. */
struct json;
void traffic_report_options(struct json *json, const struct traffic_options *options);
void traffic_report_counts(struct json *json, const struct traffic_counts *counts);

#endif
