/*
 * books.h - between the energy account and the server on one side and the ledger on the other: what
 * each of them knows of a request, in the ledger's words.
 *
 * Threads: vd_books_window and vd_books_settled run under the account's lock, vd_books_choice and
 * vd_books_answer under a request's; the ledger's own lock is a leaf. All functions but open and
 * close take NULL for books that are not kept.
 */
#ifndef VD_SERVE_BOOKS_H
#define VD_SERVE_BOOKS_H

#include "carbon/carbon.h"
#include "energy/ledger/ledger.h"
#include "energy/ledger/receipt.h"

struct vd_exchange;
struct vd_choice;
struct vd_spent;

typedef struct vd_books vd_books;

typedef struct vd_books_options {
    const char *path;   /* of the ledger */
    const char *method; /* of the meter */
    const char *keys;   /* folder of the key of receipts; NULL: keys in VERDANT_HOME */
    bool no_receipts;
    double pue;
} vd_books_options;

/* What vd_ledger_open returns. A file that cannot be written now is said in the log, and tried
 * again. */
VD_NODISCARD vd_status vd_books_open(const vd_books_options *options, vd_books **ret_books,
                                     vd_err *err);
void vd_books_close(vd_books *books); /* writes the rest; NULL is a no-op */

/* Where the ledger lies that nothing else names: VERDANT_LEDGER, else ledger.db in VERDANT_HOME;
 * vd_free. *ret_path is NULL where VERDANT_LEDGER is "off". */
VD_NODISCARD vd_status vd_books_path(char **ret_path, vd_err *err);

/* A value in the ledger's words. */
vd_ledger_intensity vd_books_intensity(const vd_intensity *intensity);
void vd_books_window(vd_books *books, const vd_window *window, const vd_intensity *intensity);
void vd_books_settled(vd_books *books, uint64_t request_id, const vd_energy *energy);
/* About once a second: says in the log, once a minute, that the ledger cannot be written. */
void vd_books_tick(vd_books *books);

/* A choice has ended; the request's last one has. */
void vd_books_choice(vd_books *books, const struct vd_choice *choice, const struct vd_spent *spent);
void vd_books_answer(vd_books *books, const struct vd_exchange *request);

/* The key of receipts; NULL where none are signed. Borrowed. */
const vd_receipt_key *vd_books_key(const vd_books *books);
/* The receipt of an answer whose sequences have all ended and are settled, as text (vd_free); NULL
 * where there is none, or memory is short. */
char *vd_books_receipt(const vd_books *books, const struct vd_exchange *request);

/* NULL where none are kept. Borrowed. */
vd_ledger *vd_books_ledger(vd_books *books);

#endif
