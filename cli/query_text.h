/* SPDX-License-Identifier: Apache-2.0
 *
 * A vector as people type it: "0.1, 0.2, 0.3", "[1 2 3]". */
#ifndef KITH_CLI_QUERY_TEXT_H
#define KITH_CLI_QUERY_TEXT_H

#include "command.h"

/* Write the `dim` numbers of the text as floats, or for bits dim / 8 bytes, to `row`. where: what needs so many, for
 * messages. 0, or an exit code after a sentence on stderr. */
int query_parse(const char *text, const char *where, bool bits, size_t dim, void *row);

#endif
