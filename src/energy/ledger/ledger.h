/*
 * ledger.h - the books of the energy account: every microjoule of the meter, in a SQLite file.
 *
 *   account ──on_window──►┐                         ┌─ window, share, request, answer
 *           ──on_settled─►├─ pending (memory) ──1 s─┤        one transaction per flush
 *   server  ──sequence───►│   never blocks          └─ thread of the ledger's own
 *           ──answer─────►┘
 *
 * What comes in is copied into memory of fixed size, merged to rows of about a second, and written
 * by a thread of the ledger's own, so that a slow or full disk never holds the engine. While the
 * file cannot be written the rows grow longer and the memory does not; where detail has to go
 * (whose share it was), the sum stays and is booked on request 0. docs/ledger.md has tables and
 * invariants.
 *
 * Threads: any function from any thread but open and close. Nothing below open allocates but flush.
 */
#ifndef VD_ENERGY_LEDGER_LEDGER_H
#define VD_ENERGY_LEDGER_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "energy/account/window.h"

typedef struct vd_ledger vd_ledger;

/* {0} means the defaults in parentheses. Strings are borrowed for the call. */
typedef struct vd_ledger_options {
    const char *path;    /* of the file; its folder is made. Needed */
    const char *program; /* who writes: "verdant 0.1.0" */
    const char *method;  /* of the meter at the start, for the session's row */
    double pue;          /* of the building; grams in the ledger are before it (1) */
    uint64_t flush_ns;   /* how long rows wait at most while somebody computes (1 s) */
    uint64_t idle_ns;    /* the same while nobody does (10 s) */
    size_t max_requests; /* ended and not yet written (8,192); above, detail is given up */
    size_t max_shares;   /* (32,768) */
    size_t max_windows;  /* (4,096) */
    bool lazy; /* a file that cannot be made or written now is tried again later, and is no error */
} vd_ledger_options;

/* Opens or makes the file, migrates an older one, begins a session. VD_ERR_UNSUPPORTED for a file
 * of a newer Verdant, VD_ERR_FORMAT for one that is no ledger, VD_ERR_PERM, VD_ERR_IO,
 * VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_ledger_open(const vd_ledger_options *options, vd_ledger **ret_ledger,
                                      vd_err *err);
/* Writes what is pending and ends the session as clean. NULL is a no-op. */
void vd_ledger_close(vd_ledger *ledger);

/* ---- what the account tells; these have the shape of vd_account_observer ---------------------*/

void vd_ledger_on_window(void *ledger, const vd_window *window);
void vd_ledger_on_settled(void *ledger, uint64_t request_id, const vd_energy *energy);

/* ---- what the server tells -------------------------------------------------------------------*/

/* Of one sequence of the engine, when it has ended. Strings are static, or live until the ledger is
 * closed. */
typedef struct vd_ledger_sequence {
    uint64_t request_id; /* the account's */
    uint64_t answer;     /* vd_ledger_next_answer of the API request it belongs to; 0: none */
    const char *model;
    const char *finish; /* "stop", "length", "cancelled", "error" */
    uint64_t begin_ns, end_ns; /* vd_now_ns */
    uint32_t prompt_tokens, cached_tokens, completion_tokens;
    double embodied_ug;
    vd_energy energy; /* as told to the client; what on_settled said goes before it */
} vd_ledger_sequence;

void vd_ledger_sequence_ended(vd_ledger *ledger, const vd_ledger_sequence *sequence);

enum { VD_LEDGER_ID_MAX = 48, VD_LEDGER_KEY_MAX = 64 };

/* Of one API request, when its last sequence has ended. */
typedef struct vd_ledger_answer {
    uint64_t number;             /* vd_ledger_next_answer */
    char id[VD_LEDGER_ID_MAX];   /* x-request-id */
    char body_id[VD_LEDGER_ID_MAX]; /* "chatcmpl-..."; "" for none */
    char key[VD_LEDGER_KEY_MAX]; /* whose key asked; "" where there are none */
    const char *model, *kind;    /* as above; "chat", "completion", "embedding" */
    uint64_t begin_ns, end_ns;
    uint32_t n_sequences;
    uint64_t prompt_tokens, cached_tokens, completion_tokens; /* as in `usage` */
    bool receipt; /* one was asked for */
    vd_energy energy; /* the sum, as told to the client */
} vd_ledger_answer;

uint64_t vd_ledger_next_answer(vd_ledger *ledger); /* 1, 2, ... in this session */
void vd_ledger_answer_ended(vd_ledger *ledger, const vd_ledger_answer *answer);

/* The intensity of the grid from now on. Tags as in carbon's API; see docs/ledger.md. */
typedef struct vd_ledger_intensity {
    double g_per_kwh;
    int64_t from_s, to_s; /* what it was said of, Unix seconds; 0, 0: for any time */
    char zone[40], kind[16], scope[16], basis[16], boundary[16], source[128], version[40];
    bool estimated, stale;
} vd_ledger_intensity;

void vd_ledger_set_intensity(vd_ledger *ledger, const vd_ledger_intensity *intensity);

/* ---- the state of the books ------------------------------------------------------------------*/

/* Asks the thread to write what is pending and waits for it, at most `wait_ns`. VD_ERR_BUSY when
 * that is over, VD_ERR_IO with what the file said when it cannot be written. */
VD_NODISCARD vd_status vd_ledger_flush(vd_ledger *ledger, uint64_t wait_ns, vd_err *err);

typedef struct vd_ledger_stats {
    uint64_t n_flushes, n_failures; /* transactions that went well, and that did not */
    uint64_t lag_ns;                /* age of the oldest thing that is not written */
    uint64_t folded_uj;             /* microjoules whose request is not known any more */
    uint64_t n_folded;              /* requests without a row of their own */
    uint64_t n_windows, n_requests; /* written in this session */
    int64_t session;                /* its row; 0 before the file was first written */
    char failure[VD_ERR_MESSAGE_MAX]; /* why the last try failed; "" when it did not */
} vd_ledger_stats;

void vd_ledger_stats_get(vd_ledger *ledger, vd_ledger_stats *ret_stats);

const char *vd_ledger_path(const vd_ledger *ledger);

#endif
