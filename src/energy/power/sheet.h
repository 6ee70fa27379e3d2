/*
 * sheet.h - tables as meters export them: a line of names, then rows. Inside src/energy and doctor.
 *
 * Separated by comma, semicolon or tab, whichever the first line has most of; cells may stand in
 * double quotes (doubled inside); a byte order mark, CR LF, empty lines and lines that begin with #
 * are taken. Where the separator is a semicolon, numbers may have a decimal comma.
 */
#ifndef VD_ENERGY_SHEET_H
#define VD_ENERGY_SHEET_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

enum { VD_SHEET_COLUMNS_MAX = 256, VD_SHEET_BYTES_MAX = 1 << 27 };

typedef struct vd_sheet {
    char *text;         /* owned; cells point into it */
    const char **cell;  /* [n_rows + 1][n_columns]; the first row has the names */
    size_t *line;       /* [n_rows + 1]: where each began in the file, from 1 */
    size_t n_rows, n_columns;
    bool decimal_comma;
} vd_sheet;

/* Takes n bytes with a NUL behind them (whose owner it becomes, also on failure); `name` is for
 * messages. VD_ERR_FORMAT where there is no header; a row with fewer cells has "" for the rest, one
 * with more loses them. */
VD_NODISCARD vd_status vd_sheet_parse(char *text, size_t n, const char *name, vd_sheet *ret_sheet,
                                      vd_err *err);
/* The same of a file. */
VD_NODISCARD vd_status vd_sheet_read(const char *path, vd_sheet *ret_sheet, vd_err *err);
void vd_sheet_done(vd_sheet *csv); /* {0} is fine */

/* The cell of row 0..n_rows-1; "" outside. */
const char *vd_sheet_cell(const vd_sheet *csv, size_t row, size_t column);
/* The number of a cell; false where it is none or not finite. */
bool vd_sheet_number(const vd_sheet *csv, size_t row, size_t column, double *ret);
/* The column with the name, whatever its case; false where there is none. */
bool vd_sheet_column(const vd_sheet *csv, const char *name, size_t *ret_column);
/* All names, for messages, cut where they get long. */
void vd_sheet_names(const vd_sheet *csv, char *text, size_t size);

#endif
