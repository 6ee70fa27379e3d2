/*
 * write.h - a batch (pending.h) to rows, in one transaction. Belongs to the ledger's thread.
 */
#ifndef VD_ENERGY_LEDGER_WRITE_H
#define VD_ENERGY_LEDGER_WRITE_H

#include "energy/ledger/db.h"
#include "energy/ledger/pending.h"

enum { VD_WRITE_STATEMENTS = 20 };

typedef struct vd_writer {
    const char *path, *program, *method; /* of the session; borrowed */
    double pue;
    uint64_t begin_ns, mono_ns;          /* when it began: wall clock, vd_now_ns */
    int64_t session;                     /* its row; 0: there is none yet */
    sqlite3 *db;                         /* NULL: closed, to be opened at the next write */
    sqlite3_stmt *statement[VD_WRITE_STATEMENTS];
    uint64_t device, inode; /* of the file that is open */
    bool folded;            /* detail was given up at some time in this session */
    uint64_t n_windows, n_requests;
    uint64_t wall_offset_ns; /* of the batch being written */
} vd_writer;

/* Opens the file and begins the session, unless both is done. */
VD_NODISCARD vd_status vd_writer_open(vd_writer *writer, vd_err *err);
/* All of the batch or nothing. After a failure (but VD_ERR_BUSY) the file is closed, and opened
 * anew by the next call. */
VD_NODISCARD vd_status vd_writer_write(vd_writer *writer, const vd_pending *batch,
                                       uint64_t wall_offset_ns, vd_err *err);
/* Ends the session as clean. */
VD_NODISCARD vd_status vd_writer_end(vd_writer *writer, uint64_t end_ns, vd_err *err);
void vd_writer_close(vd_writer *writer);

#endif
