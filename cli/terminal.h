/* SPDX-License-Identifier: Apache-2.0
 *
 * What the terminal can show, and how numbers and foreign text are written for people. */
#ifndef KITH_CLI_TERMINAL_H
#define KITH_CLI_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum color_choice { COLOR_AUTO, COLOR_ALWAYS, COLOR_NEVER };
enum style { STYLE_PLAIN, STYLE_BOLD, STYLE_DIM, STYLE_RED, STYLE_GREEN, STYLE_YELLOW, STYLE_CYAN };

/* Once, before anything is printed: takes the locale's character set (numbers stay in the C locale). */
void terminal_init(void);
void terminal_set_color(enum color_choice choice);

bool terminal_is(FILE *stream);
bool terminal_utf8(void);
bool terminal_color(FILE *stream);
/* Columns; 80 when unknown. */
int terminal_width(FILE *stream);

/* The escape that begins a style, or "" where colors are off; STYLE_PLAIN ends one. */
const char *terminal_style(FILE *stream, enum style style);

/* Columns that text of so many bytes takes on the terminal. */
int text_width(const char *text, size_t bytes);

/* Copy text so that nothing in it can steer a terminal or break a line: control characters and bytes that are not
 * UTF-8 become '?', on a terminal that is not UTF-8 also all but ASCII. Cuts at `room` bytes, never inside a character;
 * always ends in NUL. Returns the bytes written. */
size_t text_clean(char *to, size_t room, const char *text, size_t bytes);

#define HUMAN_BYTES 40
/* "1,234,567"; "1.21 GiB"; "12.3 ms"; "2.41 GB/s"; "12,345/s". All return `to`, of HUMAN_BYTES bytes. */
char *human_count(char *to, uint64_t count);
char *human_bytes(char *to, uint64_t bytes);
char *human_duration(char *to, double seconds);
char *human_byte_rate(char *to, double bytes_per_second);
char *human_rate(char *to, double per_second);

#endif
