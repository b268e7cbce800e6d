/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"
#include "suggest.h"

/* ---- Values ------------------------------------------------------------------------------------------------------ */

bool parse_number(const char *text, size_t bytes, uint64_t *number) {
    uint64_t value = 0;
    if (bytes == 0) return false;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        const uint64_t digit = (uint64_t)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) return false;
        value = value * 10 + digit;
    }
    *number = value;
    return true;
}

/* strtod without its leading blanks, hexadecimal and names for infinity and NaN. Sets *end behind the number. */
static bool leading_real(const char *text, double *real, const char **end) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (!isdigit((unsigned char)*digits) && !(*digits == '.' && isdigit((unsigned char)digits[1]))) return false;
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')) return false;
    char *stop;
    *real = strtod(text, &stop);
    *end = stop;
    return isfinite(*real);
}

bool parse_real(const char *text, double *real) {
    const char *end;
    double value;
    if (!leading_real(text, &value, &end) || *end) return false;
    *real = value;
    return true;
}

struct unit {
    const char *name;
    uint64_t factor;
};

/* "1.5G": a number that is not negative, then one of the units. */
static bool parse_with_unit(const char *text, const struct unit *units, uint64_t *result) {
    const char *end;
    double value;
    if (*text == '-' || *text == '+' || !leading_real(text, &value, &end)) return false;
    for (const struct unit *unit = units; unit->name; unit++) {
        if (strcmp(unit->name, end) != 0) continue;
        uint64_t whole;
        if (parse_number(text, (size_t)(end - text), &whole)) { /* beyond 2^53 a double is not exact */
            if (whole > UINT64_MAX / unit->factor) return false;
            *result = whole * unit->factor;
            return true;
        }
        value *= (double)unit->factor;
        if (!(value < 18446744073709549568.0)) return false; /* the largest double below 2^64 is 2048 less */
        *result = (uint64_t)(value + 0.5);
        return true;
    }
    return false;
}

bool parse_size(const char *text, uint64_t *bytes) {
    static const struct unit units[] = {
        {"", 1},
        {"B", 1},
        {"K", UINT64_C(1) << 10},
        {"M", UINT64_C(1) << 20},
        {"G", UINT64_C(1) << 30},
        {"T", UINT64_C(1) << 40},
        {"KiB", UINT64_C(1) << 10},
        {"MiB", UINT64_C(1) << 20},
        {"GiB", UINT64_C(1) << 30},
        {"TiB", UINT64_C(1) << 40},
        {"k", UINT64_C(1) << 10},
        {"m", UINT64_C(1) << 20},
        {"g", UINT64_C(1) << 30},
        {"t", UINT64_C(1) << 40},
        {NULL, 0},
    };
    return parse_with_unit(text, units, bytes);
}

bool parse_duration(const char *text, uint64_t *nanoseconds) {
    static const struct unit units[] = {
        {"ns", 1},
        {"us", 1000},
        {"ms", 1000000},
        {"s", 1000000000},
        {"m", UINT64_C(60000000000)},
        {"h", UINT64_C(3600000000000)},
        {"d", UINT64_C(86400000000000)},
        {NULL, 0},
    };
    return parse_with_unit(text, units, nanoseconds);
}

static bool next_number(const char **text, uint64_t *number) {
    const size_t bytes = strcspn(*text, ",");
    if (!parse_number(*text, bytes, number)) return false;
    *text += bytes + ((*text)[bytes] == ',');
    return true;
}

static bool ends_in_comma(const char *text) {
    return *text && text[strlen(text) - 1] == ',';
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

const struct option *option_find(enum command_id command, const char *name, size_t name_bytes) {
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *option = &option_table[i];
        if (option->commands >> command & 1 && strlen(option->name) == name_bytes &&
            memcmp(option->name, name, name_bytes) == 0)
            return option;
    }
    return NULL;
}

const struct option *option_find_letter(enum command_id command, char letter) {
    for (size_t i = 0; i < option_table_count; i++) {
        const struct option *option = &option_table[i];
        if (option->commands >> command & 1 && option->letter && option->letter == letter) return option;
    }
    return NULL;
}

/* ---- Errors ------------------------------------------------------------------------------------------------------ */

static int fail_unknown(enum command_id command, const char *name, size_t bytes) {
    struct suggestion near;
    suggest_start(&near, name, bytes);
    for (size_t i = 0; i < option_table_count; i++)
        if (option_table[i].commands >> command & 1 && !option_table[i].hidden)
            suggest_offer(&near, option_table[i].name);
    if (near.best)
        return fail_usage(command, "%s has no option --%.*s; did you mean --%s?", command_table[command].name,
                          (int)bytes, name, near.best);
    return fail_usage(command, "%s has no option --%.*s", command_table[command].name, (int)bytes, name);
}

static void append(char *text, size_t room, const char *more) {
    const size_t used = strlen(text);
    if (used < room) snprintf(text + used, room - used, "%s", more);
}

static int fail_word(enum command_id command, const struct option *option, const char *text) {
    char words[256] = "";
    struct suggestion near;
    suggest_start(&near, text, strlen(text));
    for (const struct option_word *word = option->words; word->word; word++) {
        suggest_offer(&near, word->word);
        append(words, sizeof(words), word == option->words ? "" : word[1].word ? ", " : " or ");
        append(words, sizeof(words), word->word);
    }
    if (near.best)
        return fail_usage(command, "--%s is \"%s\", but %s was expected; did you mean \"%s\"?", option->name, text,
                          words, near.best);
    return fail_usage(command, "--%s is \"%s\", but %s was expected", option->name, text, words);
}

static int fail_number(enum command_id command, const struct option *option, const char *text) {
    char limits[64] = "";
    if (option->maximum != UINT64_MAX) {
        snprintf(limits, sizeof(limits), " from %llu to %llu", (unsigned long long)option->minimum,
                 (unsigned long long)option->maximum);
    } else if (option->minimum > 0) {
        snprintf(limits, sizeof(limits), " of at least %llu", (unsigned long long)option->minimum);
    }
    const bool list = option->kind == OPTION_KIND_NUMBERS;
    return fail_usage(command, "--%s is \"%s\", but %s%s %s expected", option->name, text,
                      list ? "whole numbers" : "a whole number", limits,
                      list ? "with commas between them were" : "was");
}

/* ---- Parsing ----------------------------------------------------------------------------------------------------- */

static bool set_numbers(const struct option *option, const char *text) {
    size_t count = 0;
    if (!*text || ends_in_comma(text)) return false;
    while (*text) {
        uint64_t number;
        if (!next_number(&text, &number) || number < option->minimum || number > option->maximum) return false;
        if (++count > OPTION_NUMBERS_MAX) return false;
    }
    return true;
}

static bool find_word(const struct option *option, const char *text, uint64_t *number) {
    for (const struct option_word *word = option->words; word->word; word++) {
        if (strcmp(word->word, text) != 0) continue;
        *number = word->value;
        return true;
    }
    return false;
}

static int set_value(enum command_id command, const struct option *option, const char *text,
                     struct arguments *arguments) {
    struct option_value *value = &arguments->values[option->id];
    value->given = true;
    value->text = text;
    switch (option->kind) {
    case OPTION_KIND_NUMBER:
        if (option->words && find_word(option, text, &value->number)) return 0;
        if (!parse_number(text, strlen(text), &value->number) || value->number < option->minimum ||
            value->number > option->maximum)
            return fail_number(command, option, text);
        break;
    case OPTION_KIND_NUMBERS:
        if (!set_numbers(option, text)) return fail_number(command, option, text);
        break;
    case OPTION_KIND_SIZE:
        if (!parse_size(text, &value->number) || value->number < option->minimum)
            return fail_usage(command, "--%s is \"%s\", but a size such as 512M or 2G, at least %lluM, was expected",
                              option->name, text, (unsigned long long)(option->minimum >> 20));
        break;
    case OPTION_KIND_DURATION:
        if (!parse_duration(text, &value->number) || value->number < option->minimum)
            return fail_usage(command, "--%s is \"%s\", but a time such as 500us, 50ms or 2s was expected",
                              option->name, text);
        break;
    case OPTION_KIND_REAL:
        if (!parse_real(text, &value->real))
            return fail_usage(command, "--%s is \"%s\", but a number was expected", option->name, text);
        break;
    case OPTION_KIND_WORD:
        if (!find_word(option, text, &value->number)) return fail_word(command, option, text);
        break;
    case OPTION_KIND_FILE:
    case OPTION_KIND_FOLDER:
        if (!*text) return fail_usage(command, "--%s is empty, but a name was expected", option->name);
        break;
    case OPTION_KIND_FLAG:
    case OPTION_KIND_TEXT:
        break;
    }
    return 0;
}

static int parse_long(enum command_id command, int argc, char **argv, int *at, struct arguments *arguments) {
    const char *name = argv[*at] + 2;
    const size_t bytes = strcspn(name, "=");
    const struct option *option = option_find(command, name, bytes);
    if (!option) return fail_unknown(command, name, bytes);
    const char *text = name[bytes] == '=' ? name + bytes + 1 : NULL;
    if (!option->argument) {
        if (text) return fail_usage(command, "--%s takes no value, but \"%s\" was given", option->name, text);
        return set_value(command, option, "", arguments);
    }
    if (!text) {
        if (*at + 1 >= argc) return fail_usage(command, "--%s needs a value, %s", option->name, option->argument);
        text = argv[++*at];
    }
    return set_value(command, option, text, arguments);
}

/* "-k10", "-k 10", "-jx": letters of flags may stand together; one that takes a value takes the rest. */
static int parse_letters(enum command_id command, int argc, char **argv, int *at, struct arguments *arguments) {
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        const struct option *option = option_find_letter(command, *letter);
        if (!option) return fail_usage(command, "%s has no option -%c", command_table[command].name, *letter);
        const char *text = "";
        if (option->argument) {
            text = letter[1] == '=' ? letter + 2 : letter + 1;
            if (!letter[1]) {
                if (*at + 1 >= argc) return fail_usage(command, "-%c needs a value, %s", *letter, option->argument);
                text = argv[++*at];
            }
        }
        const int failed = set_value(command, option, text, arguments);
        if (failed || option->argument) return failed;
    }
    return 0;
}

static int check_operands(const struct arguments *arguments) {
    const struct command *command = &command_table[arguments->command];
    if (arguments->operand_count < command->operands_min)
        return fail_usage(command->id, "%s needs %s", command->name, command->operands);
    if (arguments->operand_count > command->operands_max)
        return fail_usage(command->id, "%s does not know what to do with \"%s\"", command->name,
                          arguments->operands[command->operands_max]);
    return 0;
}

int options_parse(enum command_id command, int argc, char **argv, struct arguments *arguments) {
    bool only_operands = false;
    memset(arguments, 0, sizeof(*arguments));
    arguments->command = command;
    for (int i = 0; i < argc; i++) {
        const char *word = argv[i];
        int failed = 0;
        if (only_operands || word[0] != '-' || !word[1]) {
            if (arguments->operand_count == OPERANDS_MAX)
                return fail_usage(command, "%s does not know what to do with \"%s\"", command_table[command].name,
                                  word);
            arguments->operands[arguments->operand_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (word[1] == '-') {
            failed = parse_long(command, argc, argv, &i, arguments);
        } else {
            failed = parse_letters(command, argc, argv, &i, arguments);
        }
        if (failed) return failed;
    }
    return option_given(arguments, OPTION_HELP) ? 0 : check_operands(arguments);
}

/* ---- Asking ------------------------------------------------------------------------------------------------------ */

bool option_given(const struct arguments *arguments, enum option_id id) {
    return arguments->values[id].given;
}

const char *option_text(const struct arguments *arguments, enum option_id id, const char *otherwise) {
    return arguments->values[id].given ? arguments->values[id].text : otherwise;
}

uint64_t option_number(const struct arguments *arguments, enum option_id id, uint64_t otherwise) {
    return arguments->values[id].given ? arguments->values[id].number : otherwise;
}

double option_real(const struct arguments *arguments, enum option_id id, double otherwise) {
    return arguments->values[id].given ? arguments->values[id].real : otherwise;
}

size_t option_numbers(const struct arguments *arguments, enum option_id id, uint64_t numbers[OPTION_NUMBERS_MAX]) {
    size_t count = 0;
    if (!arguments->values[id].given) return 0;
    for (const char *text = arguments->values[id].text; *text && count < OPTION_NUMBERS_MAX; count++)
        if (!next_number(&text, &numbers[count])) break;
    return count;
}
