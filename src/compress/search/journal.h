/*
 * journal.h - what a search has measured, kept beside its target while it runs, so that one that
 * was interrupted goes on where it was.
 *
 * JSON lines, each written and synced before the next measurement begins: first what the search is
 * of (a fingerprint of the source, the text and the options), then a line for each measurement, a
 * key and its numbers. A last line that was cut short is what a kill leaves: it is dropped. Any
 * other line that cannot be read is an error that names it. A journal of another search is begun
 * anew. One process at a time: the file is locked.
 */
#ifndef VD_COMPRESS_SEARCH_JOURNAL_H
#define VD_COMPRESS_SEARCH_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <verdant/status.h>

typedef struct vd_journal vd_journal;

enum { VD_JOURNAL_NUMBERS = 3 };

/* Numbers keep the precision of a float, so that one that was read is the one that was written.
 * `about`: what the search is of, any text. VD_ERR_IO, VD_ERR_BUSY where another process has it,
 * VD_ERR_FORMAT for a damaged line, VD_ERR_ARG where another kind of file is there: it is left. */
VD_NODISCARD vd_status vd_journal_open(const char *path, const char *about,
                                       vd_journal **ret_journal, vd_err *err);
/* Closes it; the file stays. NULL is a no-op. */
void vd_journal_free(vd_journal *journal);
/* The file goes. */
void vd_journal_remove(vd_journal *journal);

/* Measurements that were there when it was opened. */
size_t vd_journal_n(const vd_journal *journal);
bool vd_journal_was_other(const vd_journal *journal); /* one of another search was there */

bool vd_journal_find(const vd_journal *journal, const char *key,
                     double ret_number[VD_JOURNAL_NUMBERS]);
/* Rounds `number` as it will be found. */
VD_NODISCARD vd_status vd_journal_add(vd_journal *journal, const char *key,
                                      double number[VD_JOURNAL_NUMBERS], vd_err *err);

#endif
