/*
 * db.h - SQLite as the ledger uses it: opened with our allocator, our limits and our SQL function,
 * its errors as statuses. Single-owner.
 */
#ifndef VD_ENERGY_LEDGER_DB_H
#define VD_ENERGY_LEDGER_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <verdant/status.h>

/*
 * vd_mark(TABLE, COLUMN...) in SQL: a number that stands in the column `mark` of every row, so that
 * a changed bit or a figure edited by hand is found. The first 8 bytes of BLAKE2b, with no key:
 * whoever knows this file can make it anew; receipts are for that.
 */

/* Makes the file unless `read_only`. No schema is looked at (schema.h). */
VD_NODISCARD vd_status vd_db_open(const char *path, bool read_only, sqlite3 **ret_db, vd_err *err);
void vd_db_close(sqlite3 *db); /* NULL is a no-op */

/* Fills *err from the result code of SQLite: "PATH: what: why". */
vd_status vd_db_fail(sqlite3 *db, int code, const char *what, vd_err *err);

/* Statements without results, separated by semicolons. */
VD_NODISCARD vd_status vd_db_run(sqlite3 *db, const char *sql, vd_err *err);
VD_NODISCARD vd_status vd_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, vd_err *err);
/* Binds parameters 1, 2, ... as `kinds` says: i int64_t, r double, t const char * (NULL is NULL).
 * Text is borrowed until the statement is reset. */
VD_NODISCARD vd_status vd_db_bind(sqlite3_stmt *statement, vd_err *err, const char *kinds, ...);
/* *ret_row: there is a row to read. */
VD_NODISCARD vd_status vd_db_step(sqlite3_stmt *statement, bool *ret_row, vd_err *err);
/* Steps one without results to its end and resets it, also on failure. */
VD_NODISCARD vd_status vd_db_finish(sqlite3_stmt *statement, vd_err *err);
/* The first column of the first row; 0 where there is none. */
VD_NODISCARD vd_status vd_db_number(sqlite3 *db, const char *sql, int64_t *ret, vd_err *err);
/* "" for NULL. Borrowed until the next step. */
const char *vd_db_text(sqlite3_stmt *statement, int column);

#endif
