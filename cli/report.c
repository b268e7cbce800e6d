/* SPDX-License-Identifier: Apache-2.0
 *
 * How errors are told: one sentence on stderr after "kith: ", and an exit code that a script can act on. */
#include <stdarg.h>
#include <string.h>

#include "command.h"
#include "terminal.h"

static void __attribute__((format(printf, 3, 0)))
say(const char *label, enum style style, const char *format, va_list arguments) {
    char text[2048], clean[2048];
    vsnprintf(text, sizeof(text), format, arguments);
    text_clean(clean, sizeof(clean), text, strlen(text)); /* file names may hold anything */
    fprintf(stderr, "%skith:%s %s%s\n", terminal_style(stderr, style), terminal_style(stderr, STYLE_PLAIN), label,
            clean);
}

int fail(int exit_code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("", STYLE_RED, format, arguments);
    va_end(arguments);
    return exit_code;
}

int fail_usage(enum command_id command, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("", STYLE_RED, format, arguments);
    va_end(arguments);
    fprintf(stderr, "See 'kith help%s%s'.\n", command < COMMANDS ? " " : "",
            command < COMMANDS ? command_table[command].name : "");
    return EXIT_USAGE;
}

void note(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say("note: ", STYLE_YELLOW, format, arguments);
    va_end(arguments);
}

static int exit_code_of(kith_status status) {
    switch (status) {
    case KITH_OK:
        return EXIT_OK;
    case KITH_E_ARG:
        return EXIT_USAGE;
    case KITH_E_FORMAT:
    case KITH_E_DATA:
    case KITH_E_LIMIT:
    case KITH_E_UNSUPPORTED:
        return EXIT_INPUT;
    case KITH_E_CORRUPT:
    case KITH_E_VERSION:
        return EXIT_INDEX;
    case KITH_E_NOTFOUND:
        return EXIT_ABSENT;
    case KITH_E_IO:
    case KITH_E_NOSPACE:
    case KITH_E_BUSY:
        return EXIT_STORAGE;
    case KITH_E_CANCELLED:
        return interrupt_exit_code();
    case KITH_E_DEADLINE:
        return EXIT_STOPPED;
    case KITH_E_NOMEM:
        break;
    }
    return EXIT_OTHER;
}

int fail_status(kith_status status, const kith_error *error) {
    if (status == KITH_E_CANCELLED && interrupt_asked(NULL)) return fail(interrupt_exit_code(), "interrupted");
    const char *text = error && error->text[0] ? error->text : kith_status_text(status);
    return fail(exit_code_of(status), "%s", text);
}
