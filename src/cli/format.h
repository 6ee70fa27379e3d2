/*
 * format.h - figures and foreign text, fit for a terminal or for JSON.
 *
 * What comes from a file or the network may hold control characters and bytes that are no UTF-8:
 * a terminal must never get those, nor may jansson.
 */
#ifndef VD_CLI_FORMAT_H
#define VD_CLI_FORMAT_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef struct vd_cli_text {
    char text[32];
} vd_cli_text;

/* "98.9 MB" and "134.5 M": three or four digits, powers of 1000. */
vd_cli_text vd_cli_size(uint64_t bytes);
vd_cli_text vd_cli_count(uint64_t n);
/* The shortest decimal that reads back as the same float (or double, when is_f32 is 0). */
vd_cli_text vd_cli_real(double value, int is_f32);

/* Prints at most `columns` characters (the last being "…" when cut): newline, tab and other control
 * characters as \n, \t, \xNN, bytes that are no UTF-8 as \xNN. Returns the columns printed. */
size_t vd_cli_put_clean(FILE *out, const char *data, size_t n, size_t columns);

/* A JSON string; bytes that are no UTF-8 become U+FFFD. NULL when memory is short. */
json_t *vd_cli_json_string(const char *data, size_t n);

/* Prints `value` with a newline and drops its reference. Returns the exit status. */
int vd_cli_put_json(const char *command, json_t *value);

#endif
