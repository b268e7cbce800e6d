/* SPDX-License-Identifier: Apache-2.0
 *
 * A small table: on a terminal columns in line under a heading, elsewhere fields separated by tabs, ready for cut, sort
 * and awk. Rows may be printed in portions (table_flush); widths of earlier portions are kept. */
#ifndef KITH_CLI_TABLE_H
#define KITH_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define TABLE_COLUMNS_MAX 12

enum table_align { TABLE_LEFT, TABLE_RIGHT };

struct table_column {
    const char *heading;
    enum table_align align;
};

struct table;

/* headings: borrowed for the table's life. NULL when memory is refused. */
struct table *table_create(FILE *stream, const struct table_column *columns, size_t column_count);
/* Add cells from left to right; a row is complete after column_count cells. Text is cleaned (terminal.h) and copied.
 * Memory failures are remembered and told by table_flush. */
void table_text(struct table *table, const char *text, size_t bytes);
void table_format(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Print the complete rows. False when memory was refused. */
bool table_flush(struct table *table);
void table_destroy(struct table *table);

/* "label   value" lines, the labels padded to one width: for reports with one value a line. */
void pair_line(FILE *stream, const char *label, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
