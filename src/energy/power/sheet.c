/* sheet.c - see sheet.h. */
#include "energy/power/sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"

void vd_sheet_done(vd_sheet *csv)
{
    vd_free(csv->text);
    vd_free(csv->cell);
    vd_free(csv->line);
    *csv = (vd_sheet){0};
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\r';
}

/* Cuts a row into cells in place: quotes taken off, blanks around them too. Gives the cells to
 * `cell` (those above `max` are lost), returns how many there were, and moves `*at` to the next. */
static size_t cut_row(char **at, char separator, const char **cell, size_t max)
{
    char *p = *at;
    size_t n = 0;
    for (;;) {
        while (is_blank(*p))
            p++;
        char *begin = p, *end;
        if (*p == '"') {
            begin = ++p;
            for (end = p; *p != '\0' && (*p != '"' || p[1] == '"'); p++) {
                p += *p == '"';
                *end++ = *p;
            }
            p += *p == '"';
            while (*p != separator && *p != '\n' && *p != '\0')
                p++;
        } else {
            while (*p != separator && *p != '\n' && *p != '\0')
                p++;
            for (end = p; end > begin && is_blank(end[-1]);)
                end--;
        }
        char stopped = *p;
        *end = '\0';
        if (n < max)
            cell[n] = begin;
        n++;
        if (stopped != separator) {
            *at = stopped == '\0' ? p : p + 1;
            return n;
        }
        p++;
    }
}

static char find_separator(const char *text)
{
    size_t n[3] = {0}, best = 0;
    static const char separators[] = ",;\t";
    for (; *text != '\0' && *text != '\n'; text++)
        for (size_t i = 0; i < 3; i++)
            n[i] += *text == separators[i];
    for (size_t i = 1; i < 3; i++)
        best = n[i] > n[best] ? i : best;
    return separators[best];
}

/* Past empty lines and comments; counts the lines. */
static char *skip(char *at, size_t *line)
{
    for (;;) {
        char *p = at;
        while (is_blank(*p))
            p++;
        if (*p != '\n' && *p != '#')
            return *p == '\0' ? p : at;
        p += strcspn(p, "\n");
        at = *p == '\n' ? p + 1 : p;
        ++*line;
    }
}

static vd_status cut(vd_sheet *csv, const char *path, vd_err *err)
{
    const char *names[VD_SHEET_COLUMNS_MAX];
    size_t line = 1, n_lines = 1, n_cells;
    char *at = csv->text;
    if (strncmp(at, "\xef\xbb\xbf", 3) == 0)
        at += 3;
    at = skip(at, &line);
    for (const char *p = at; *p != '\0'; p++)
        n_lines += *p == '\n';
    char separator = find_separator(at);
    csv->decimal_comma = separator == ';';
    size_t header_line = line;
    csv->n_columns = *at == '\0' ? 0 : cut_row(&at, separator, names, VD_SHEET_COLUMNS_MAX);
    if (csv->n_columns < 2 || csv->n_columns > VD_SHEET_COLUMNS_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%s: the first line must have 2 to %d names of columns, separated by comma, "
                       "semicolon or tab, not %zu",
                       path, VD_SHEET_COLUMNS_MAX, csv->n_columns);
    if (!vd_mul_size(n_lines, csv->n_columns, &n_cells))
        return VD_FAIL(err, VD_ERR_NOMEM, "%s: too many cells", path);
    vd_status st = vd_alloc_array(n_cells, sizeof(*csv->cell), "a table", &csv->cell, err);
    if (st == VD_OK)
        st = vd_alloc_array(n_lines, sizeof(*csv->line), "a table", &csv->line, err);
    if (st != VD_OK)
        return st;
    memcpy(csv->cell, names, csv->n_columns * sizeof(*names));
    csv->line[0] = header_line;
    for (line++; *(at = skip(at, &line)) != '\0'; line++) {
        const char **row = csv->cell + ++csv->n_rows * csv->n_columns;
        csv->line[csv->n_rows] = line;
        for (size_t i = cut_row(&at, separator, row, csv->n_columns); i < csv->n_columns; i++)
            row[i] = "";
    }
    return VD_OK;
}

vd_status vd_sheet_parse(char *text, size_t n, const char *name, vd_sheet *ret_sheet, vd_err *err)
{
    vd_sheet sheet = {.text = text};
    vd_status st = VD_OK;
    if (strlen(text) != n)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s is no text: it has a NUL at byte %zu", name,
                     strlen(text));
    if (st == VD_OK)
        st = cut(&sheet, name, err);
    if (st == VD_OK) {
        *ret_sheet = sheet;
        sheet = (vd_sheet){0};
    }
    vd_sheet_done(&sheet);
    return st;
}

vd_status vd_sheet_read(const char *path, vd_sheet *ret_sheet, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_status st = vd_file_read(path, VD_SHEET_BYTES_MAX, &text, &n, err);
    return st == VD_OK ? vd_sheet_parse(text, n, path, ret_sheet, err) : st;
}

const char *vd_sheet_cell(const vd_sheet *csv, size_t row, size_t column)
{
    return row < csv->n_rows && column < csv->n_columns
               ? csv->cell[(row + 1) * csv->n_columns + column]
               : "";
}

bool vd_sheet_number(const vd_sheet *csv, size_t row, size_t column, double *ret)
{
    char text[64];
    const char *cell = vd_sheet_cell(csv, row, column);
    int n = snprintf(text, sizeof(text), "%s", cell);
    if (n <= 0 || n >= (int)sizeof(text))
        return false;
    char *comma = csv->decimal_comma ? strchr(text, ',') : NULL;
    if (comma != NULL)
        *comma = '.';
    char *end;
    double number = strtod(text, &end);
    end += strspn(end, " ");
    if (end == text || *end != '\0' || !isfinite(number))
        return false;
    *ret = number;
    return true;
}

bool vd_sheet_column(const vd_sheet *csv, const char *name, size_t *ret_column)
{
    for (size_t i = 0; i < csv->n_columns; i++)
        if (strcasecmp(csv->cell[i], name) == 0) {
            *ret_column = i;
            return true;
        }
    return false;
}

void vd_sheet_names(const vd_sheet *csv, char *text, size_t size)
{
    size_t n = 0;
    text[0] = '\0';
    for (size_t i = 0; i < csv->n_columns && n + 8 < size; i++) {
        int wrote = snprintf(text + n, size - n, "%s'%.40s'", i > 0 ? ", " : "", csv->cell[i]);
        n = VD_MIN(n + (size_t)VD_MAX(wrote, 0), size - 1);
    }
}
