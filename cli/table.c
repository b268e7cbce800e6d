/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "terminal.h"

#define CELL_BYTES_MAX 16384 /* of a cell: the longest id or name is 4,096 bytes */

struct table {
    FILE *stream;
    const struct table_column *columns;
    size_t column_count;
    bool lines_up, headed, failed;
    int width[TABLE_COLUMNS_MAX];
    char *text; /* the cells back to back, each with its NUL */
    size_t text_bytes, text_room;
    size_t cells;
};

struct table *table_create(FILE *stream, const struct table_column *columns, size_t column_count) {
    struct table *table = column_count <= TABLE_COLUMNS_MAX ? calloc(1, sizeof(*table)) : NULL;
    if (!table) return NULL;
    table->stream = stream;
    table->columns = columns;
    table->column_count = column_count;
    table->lines_up = terminal_is(stream);
    for (size_t i = 0; i < column_count; i++)
        table->width[i] = text_width(columns[i].heading, strlen(columns[i].heading));
    return table;
}

static bool reserve(struct table *table, size_t bytes) {
    if (table->failed) return false;
    if (table->text_room - table->text_bytes >= bytes) return true;
    size_t room = table->text_room ? table->text_room : 4096;
    while (room - table->text_bytes < bytes) room *= 2;
    char *text = realloc(table->text, room);
    if (!text) {
        table->failed = true;
        return false;
    }
    table->text = text;
    table->text_room = room;
    return true;
}

void table_text(struct table *table, const char *text, size_t bytes) {
    if (bytes >= CELL_BYTES_MAX) bytes = CELL_BYTES_MAX - 1;
    if (!reserve(table, bytes + 1)) return;
    char *cell = table->text + table->text_bytes;
    const size_t used = text_clean(cell, bytes + 1, text, bytes);
    const size_t column = table->cells++ % table->column_count;
    const int width = table->lines_up ? text_width(cell, used) : 0;
    if (width > table->width[column]) table->width[column] = width;
    table->text_bytes += used + 1;
}

void table_format(struct table *table, const char *format, ...) {
    char cell[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cell, sizeof(cell), format, arguments);
    va_end(arguments);
    table_text(table, cell, strlen(cell));
}

static void print_cell(const struct table *table, size_t column, const char *cell) {
    const bool last = column + 1 == table->column_count;
    if (!table->lines_up) {
        fprintf(table->stream, "%s%c", cell, last ? '\n' : '\t');
        return;
    }
    const int space = table->width[column] - text_width(cell, strlen(cell));
    const bool right = table->columns[column].align == TABLE_RIGHT;
    fprintf(table->stream, "%*s%s%*s%s", right ? space : 0, "", cell, right || last ? 0 : space, "",
            last ? "\n" : "  ");
}

bool table_flush(struct table *table) {
    if (table->failed) return false;
    if (!table->headed) {
        fputs(terminal_style(table->stream, STYLE_BOLD), table->stream);
        for (size_t i = 0; i < table->column_count; i++) print_cell(table, i, table->columns[i].heading);
        fputs(terminal_style(table->stream, STYLE_PLAIN), table->stream);
        table->headed = true;
    }
    const size_t whole = table->cells - table->cells % table->column_count;
    const char *cell = table->text;
    for (size_t i = 0; i < whole; i++) {
        print_cell(table, i % table->column_count, cell);
        cell += strlen(cell) + 1;
    }
    table->cells = 0;
    table->text_bytes = 0;
    return true;
}

void table_destroy(struct table *table) {
    if (!table) return;
    free(table->text);
    free(table);
}

void pair_line(FILE *stream, const char *label, const char *format, ...) {
    char text[1024], clean[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text_clean(clean, sizeof(clean), text, strlen(text));
    fprintf(stream, "%s%-16s%s %s\n", terminal_style(stream, STYLE_DIM), label, terminal_style(stream, STYLE_PLAIN),
            clean);
}
