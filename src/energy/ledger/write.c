/* write.c - see write.h. */
#include "energy/ledger/write.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "energy/ledger/schema.h"

enum statement {
    SESSION_FIND,
    SESSION_INSERT,
    SESSION_END,
    INTENSITY_FIND,
    INTENSITY_INSERT,
    WINDOW_INSERT,
    SHARE_ADD,
    REQUEST_ADD,
    REQUEST_ENERGY,
    REQUEST_SEQUENCE,
    REQUEST_SETTLE,
    REQUEST_MARK,
    ANSWER_ADD,
    ANSWER_ENERGY,
    ANSWER_FOLD,
    ANSWER_SUM,
    ANSWER_MARK,
    N_STATEMENTS
};
_Static_assert((int)N_STATEMENTS <= (int)VD_WRITE_STATEMENTS, "vd_writer holds them all");

/* Energy columns from parameters ?3 on, where ?1 and ?2 name the row. */
#define SET_ENERGY                                                                                 \
    "total_uj = ?3, active_uj = ?4, prefill_uj = ?5, decode_uj = ?6, idle_share_uj = ?7, "         \
    "cpu_uj = ?8, dram_uj = ?9, gpu_uj = ?10, machine_ns = ?11, method = ?12, "                    \
    "uncertainty_pct = ?13, common_pct = ?14, independent_pct = ?15, settled = ?16, "              \
    "incomplete = ?17 "

#define CHILDREN "FROM request AS r WHERE r.session = ?1 AND r.answer = ?2)"
#define SUM_OF(column) column " = (SELECT ifnull(sum(r." column "), 0) " CHILDREN ", "

static const char *const sql[N_STATEMENTS] = {
    [SESSION_FIND] = "SELECT id FROM session WHERE id = ?1 AND begin_ns = ?2 AND mono_ns = ?3",
    [SESSION_INSERT] =
        "INSERT INTO session(" VD_COLUMNS_SESSION ", mark) SELECT n, ?1, ?2, NULL, ?3, ?4, ?5, ?6, "
        "?7, ?8, 0, vd_mark('session', n, ?1, ?2, NULL, ?3, ?4, ?5, ?6, ?7, ?8, 0) "
        "FROM (SELECT ifnull(max(id), 0) + 1 AS n FROM session)",
    [SESSION_END] =
        "UPDATE session SET end_ns = ?2, clean = 1, mark = vd_mark('session', id, begin_ns, "
        "mono_ns, ?2, boot_id, pid, pid_start, program, method, pue, 1) WHERE id = ?1",
    [INTENSITY_FIND] =
        "SELECT id FROM intensity WHERE zone = ?1 AND from_s = ?2 AND to_s = ?3 AND g_per_kwh = ?4 "
        "AND kind = ?5 AND scope = ?6 AND basis = ?7 AND boundary = ?8 AND source = ?9 AND "
        "version = ?10 AND estimated = ?11 AND stale = ?12",
    [INTENSITY_INSERT] =
        "INSERT INTO intensity(" VD_COLUMNS_INTENSITY ", mark) SELECT n, ?1, ?2, ?3, ?4, ?5, ?6, "
        "?7, ?8, ?9, ?10, ?11, ?12, ?13, vd_mark('intensity', n, ?1, ?2, ?3, ?4, ?5, ?6, ?7, "
        "?8, ?9, ?10, ?11, ?12, ?13) FROM (SELECT ifnull(max(id), 0) + 1 AS n FROM intensity)",
    [WINDOW_INSERT] =
        "INSERT INTO window(" VD_COLUMNS_WINDOW ", mark) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, "
        "?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, vd_mark('window', ?1, ?2, ?3, ?4, ?5, ?6, "
        "?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17))",
    [SHARE_ADD] =
        "INSERT INTO share(" VD_COLUMNS_SHARE ", mark) VALUES(?1, ?2, ?3, ?4, ?5, NULL, "
        "vd_mark('share', ?1, ?2, ?3, ?4, ?5, NULL)) ON CONFLICT DO UPDATE SET uj = uj + ?5, "
        "mark = vd_mark('share', session, request, slot_s, intensity, uj + ?5, final)",
    [REQUEST_ADD] =
        "INSERT INTO request(session, request) VALUES(?1, ?2) ON CONFLICT DO NOTHING",
    [REQUEST_ENERGY] =
        "UPDATE request SET " SET_ENERGY "WHERE session = ?1 AND request = ?2 AND settled = 0",
    [REQUEST_SEQUENCE] =
        "UPDATE request SET answer = ?3, model = ?4, finish = ?5, begin_ns = ?6, end_ns = ?7, "
        "prompt_tokens = ?8, cached_tokens = ?9, completion_tokens = ?10, embodied_ug = ?11 "
        "WHERE session = ?1 AND request = ?2",
    /* ?3: shares of this session may stand on request 0. */
    [REQUEST_SETTLE] =
        "UPDATE request SET first_ug = s.ug, folded_uj = iif(?3, total_uj - s.uj, 0) FROM "
        "(SELECT ifnull(sum(h.uj), 0) AS uj, ifnull(sum(h.uj * i.g_per_kwh), 0.0) / 3.6e6 AS ug "
        "FROM share AS h JOIN intensity AS i ON i.id = h.intensity "
        "WHERE h.session = ?1 AND h.request = ?2) AS s "
        "WHERE session = ?1 AND request = ?2",
    [REQUEST_MARK] = "UPDATE request SET " VD_MARK_SET("request", VD_COLUMNS_REQUEST)
        " WHERE session = ?1 AND request = ?2 RETURNING answer",
    [ANSWER_ADD] =
        "INSERT INTO answer(session, number, id, body_id, key, model, kind, begin_ns, end_ns, "
        "sequences, prompt_tokens, cached_tokens, completion_tokens, receipt) VALUES(?1, ?2, ?3, "
        "nullif(?4, ''), nullif(?5, ''), ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) "
        "ON CONFLICT DO NOTHING",
    [ANSWER_ENERGY] = "UPDATE answer SET " SET_ENERGY "WHERE session = ?1 AND number = ?2",
    /* Sequences without a row of their own: what they are worth is known, who they were is not. */
    [ANSWER_FOLD] =
        "UPDATE answer SET folded_uj = total_uj - ifnull((SELECT sum(r.total_uj) " CHILDREN ", 0) "
        "WHERE session = ?1 AND number = ?2",
    [ANSWER_SUM] =
        "UPDATE answer SET " SUM_OF("total_uj") SUM_OF("active_uj") SUM_OF("prefill_uj")
        SUM_OF("decode_uj") SUM_OF("idle_share_uj") SUM_OF("cpu_uj") SUM_OF("dram_uj")
        SUM_OF("gpu_uj") SUM_OF("machine_ns")
        "settled = (SELECT min(r.settled) " CHILDREN ", "
        "incomplete = (SELECT max(r.incomplete) " CHILDREN ", "
        "uncertainty_pct = (SELECT max(r.uncertainty_pct) " CHILDREN ", "
        "common_pct = (SELECT max(r.common_pct) " CHILDREN ", "
        "independent_pct = (SELECT max(r.independent_pct) " CHILDREN " "
        "WHERE session = ?1 AND number = ?2 AND sequences = (SELECT count(*) " CHILDREN,
    [ANSWER_MARK] =
        "UPDATE answer SET " VD_MARK_SET("answer", VD_COLUMNS_ANSWER)
        " WHERE session = ?1 AND number = ?2",
};

/* ---- opening and closing ---------------------------------------------------------------------*/

static void read_word(const char *path, char *word, size_t n)
{
    FILE *file = fopen(path, "re");
    word[0] = '\0';
    if (file == NULL)
        return;
    if (fgets(word, (int)n, file) != NULL)
        word[strcspn(word, "\n")] = '\0';
    fclose(file);
}

/* Field 22 of /proc/PID/stat: with the process id and the boot id, it names a process for ever. */
static int64_t start_of_process(void)
{
    char line[1024];
    read_word("/proc/self/stat", line, sizeof(line));
    const char *at = strrchr(line, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    long long ticks = 0;
    return at != NULL && sscanf(at, "%lld", &ticks) == 1 ? (int64_t)ticks : 0;
}

static vd_status begin_session(vd_writer *w, vd_err *err)
{
    char boot_id[64];
    bool row = false;
    sqlite3_stmt *find = w->statement[SESSION_FIND], *insert = w->statement[SESSION_INSERT];
    vd_status st = vd_db_bind(find, err, "iii", w->session, (int64_t)w->begin_ns,
                              (int64_t)w->mono_ns);
    if (st == VD_OK)
        st = vd_db_step(find, &row, err);
    sqlite3_reset(find);
    if (st != VD_OK || row)
        return st;
    read_word("/proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
    st = vd_db_bind(insert, err, "iitiittr", (int64_t)w->begin_ns, (int64_t)w->mono_ns, boot_id,
                    (int64_t)getpid(), start_of_process(), w->program, w->method, w->pue);
    if (st == VD_OK)
        st = vd_db_finish(insert, err);
    if (st == VD_OK)
        w->session = sqlite3_last_insert_rowid(w->db);
    return st;
}

static vd_status make_folder(const char *path, vd_err *err)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path)
        return VD_OK;
    char *folder = vd_strndup(path, (size_t)(slash - path));
    if (folder == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the ledger");
    vd_status st = vd_make_dirs(folder, err);
    vd_free(folder);
    return st;
}

static void note_file(vd_writer *w)
{
    struct stat about;
    if (stat(w->path, &about) == 0) {
        w->device = (uint64_t)about.st_dev;
        w->inode = (uint64_t)about.st_ino;
    }
}

/* The file has been moved or removed: what is written to it would be lost. */
static bool is_replaced(const vd_writer *w)
{
    struct stat about;
    return stat(w->path, &about) != 0 || (uint64_t)about.st_dev != w->device ||
           (uint64_t)about.st_ino != w->inode;
}

vd_status vd_writer_open(vd_writer *w, vd_err *err)
{
    if (w->db != NULL && is_replaced(w))
        vd_writer_close(w);
    if (w->db != NULL)
        return VD_OK;
    vd_status st = make_folder(w->path, err);
    if (st == VD_OK)
        st = vd_db_open(w->path, false, &w->db, err);
    if (st == VD_OK)
        st = vd_schema_make(w->db, err);
    for (size_t i = 0; st == VD_OK && i < N_STATEMENTS; i++)
        st = vd_db_prepare(w->db, sql[i], &w->statement[i], err);
    if (st == VD_OK)
        st = begin_session(w, err);
    if (st != VD_OK)
        vd_writer_close(w);
    else
        note_file(w);
    return st;
}

void vd_writer_close(vd_writer *w)
{
    for (size_t i = 0; i < VD_WRITE_STATEMENTS; i++) {
        sqlite3_finalize(w->statement[i]);
        w->statement[i] = NULL;
    }
    vd_db_close(w->db);
    w->db = NULL;
}

/* ---- rows ------------------------------------------------------------------------------------*/

static vd_status write_intensity(vd_writer *w, const vd_ledger_intensity *i, int64_t seen_ns,
                                 int64_t *ret_id, vd_err *err)
{
    bool row = false;
    sqlite3_stmt *find = w->statement[INTENSITY_FIND], *insert = w->statement[INTENSITY_INSERT];
    vd_status st = vd_db_bind(find, err, "tiirttttttii", i->zone, i->from_s, i->to_s, i->g_per_kwh,
                              i->kind, i->scope, i->basis, i->boundary, i->source, i->version,
                              (int64_t)i->estimated, (int64_t)i->stale);
    if (st == VD_OK)
        st = vd_db_step(find, &row, err);
    if (st == VD_OK && row)
        *ret_id = sqlite3_column_int64(find, 0);
    sqlite3_reset(find);
    if (st != VD_OK || row)
        return st;
    st = vd_db_bind(insert, err, "tiirttttttiii", i->zone, i->from_s, i->to_s, i->g_per_kwh,
                    i->kind, i->scope, i->basis, i->boundary, i->source, i->version,
                    (int64_t)i->estimated, (int64_t)i->stale, seen_ns);
    if (st == VD_OK)
        st = vd_db_finish(insert, err);
    *ret_id = sqlite3_last_insert_rowid(w->db);
    return st;
}

static vd_status write_window(vd_writer *w, const vd_row_window *row, vd_err *err)
{
    sqlite3_stmt *s = w->statement[WINDOW_INSERT];
    vd_status st = vd_db_bind(
        s, err, "iiiiiiiiiiiitrrii", w->session, row->slot_s, (int64_t)row->begin_ns,
        (int64_t)row->mono_ns, (int64_t)row->length_ns, (int64_t)row->meter_uj,
        (int64_t)row->part_uj[VD_PART_CPU], (int64_t)row->part_uj[VD_PART_DRAM],
        (int64_t)row->part_uj[VD_PART_GPU], (int64_t)row->requests_uj, (int64_t)row->idle_uj,
        (int64_t)row->unattributed_uj, row->method, row->common_pct, row->independent_pct,
        (int64_t)row->n_merged, (int64_t)row->gap);
    return st == VD_OK ? vd_db_finish(s, err) : st;
}

/* Binds a row's name and the energy columns of SET_ENERGY. */
static vd_status bind_energy(sqlite3_stmt *s, int64_t session, uint64_t row, const vd_energy *e,
                             vd_err *err)
{
    return vd_db_bind(s, err, "iiiiiiiiiiitrrrii", session, (int64_t)row, (int64_t)e->total_uj,
                      (int64_t)e->active_uj, (int64_t)e->prefill_uj, (int64_t)e->decode_uj,
                      (int64_t)e->idle_share_uj, (int64_t)e->cpu_uj, (int64_t)e->dram_uj,
                      (int64_t)e->gpu_uj, (int64_t)e->machine_ns, e->method, e->uncertainty_pct,
                      e->common_pct, e->independent_pct, (int64_t)e->settled,
                      (int64_t)e->incomplete);
}

static vd_status run_on_row(vd_writer *w, enum statement which, uint64_t row, vd_err *err)
{
    sqlite3_stmt *s = w->statement[which];
    vd_status st = vd_db_bind(s, err, "ii", w->session, (int64_t)row);
    return st == VD_OK ? vd_db_finish(s, err) : st;
}

static int64_t wall_of(const vd_writer *w, uint64_t mono_ns)
{
    return (int64_t)(mono_ns + w->wall_offset_ns);
}

static vd_status write_sequence(vd_writer *w, const vd_ledger_sequence *q, vd_err *err)
{
    sqlite3_stmt *s = w->statement[REQUEST_SEQUENCE];
    vd_status st = vd_db_bind(s, err, "iiittiiiiir", w->session, (int64_t)q->request_id,
                              (int64_t)q->answer, q->model, q->finish, wall_of(w, q->begin_ns),
                              wall_of(w, q->end_ns), (int64_t)q->prompt_tokens,
                              (int64_t)q->cached_tokens, (int64_t)q->completion_tokens,
                              q->embodied_ug);
    return st == VD_OK ? vd_db_finish(s, err) : st;
}

static vd_status sum_answer(vd_writer *w, uint64_t number, vd_err *err)
{
    vd_status st = run_on_row(w, ANSWER_SUM, number, err);
    if (st == VD_OK && w->folded)
        st = run_on_row(w, ANSWER_FOLD, number, err);
    return st == VD_OK ? run_on_row(w, ANSWER_MARK, number, err) : st;
}

static vd_status write_request(vd_writer *w, const vd_row_request *r, vd_err *err)
{
    const vd_energy *energy = r->has_energy                               ? &r->energy
                              : r->has_sequence && r->sequence.energy.method ? &r->sequence.energy
                                                                          : NULL;
    sqlite3_stmt *s = w->statement[REQUEST_ENERGY], *settle = w->statement[REQUEST_SETTLE];
    sqlite3_stmt *marked = w->statement[REQUEST_MARK];
    bool row = false;
    vd_status st = run_on_row(w, REQUEST_ADD, r->request_id, err);
    bool existed = sqlite3_changes(w->db) == 0;
    if (st == VD_OK && r->has_sequence)
        st = write_sequence(w, &r->sequence, err);
    if (st == VD_OK && energy != NULL)
        st = bind_energy(s, w->session, r->request_id, energy, err);
    if (st == VD_OK && energy != NULL)
        st = vd_db_finish(s, err);
    if (st == VD_OK && energy != NULL && energy->settled)
        st = vd_db_bind(settle, err, "iii", w->session, (int64_t)r->request_id,
                        (int64_t)w->folded);
    if (st == VD_OK && energy != NULL && energy->settled)
        st = vd_db_finish(settle, err);
    if (st == VD_OK)
        st = vd_db_bind(marked, err, "ii", w->session, (int64_t)r->request_id);
    if (st == VD_OK)
        st = vd_db_step(marked, &row, err);
    int64_t answer = st == VD_OK && row ? sqlite3_column_int64(marked, 0) : 0;
    sqlite3_reset(marked);
    /* It was settled after the answer had been given. */
    if (st == VD_OK && existed && answer != 0 && r->has_energy)
        st = sum_answer(w, (uint64_t)answer, err);
    w->n_requests += st == VD_OK && !existed;
    return st;
}

static vd_status write_answer(vd_writer *w, const vd_ledger_answer *a, vd_err *err)
{
    sqlite3_stmt *s = w->statement[ANSWER_ADD], *told = w->statement[ANSWER_ENERGY];
    vd_status st = vd_db_bind(
        s, err, "iitttttiiiiiii", w->session, (int64_t)a->number, a->id, a->body_id, a->key,
        a->model, a->kind, wall_of(w, a->begin_ns), wall_of(w, a->end_ns), (int64_t)a->n_sequences,
        (int64_t)a->prompt_tokens, (int64_t)a->cached_tokens, (int64_t)a->completion_tokens,
        (int64_t)a->receipt);
    if (st == VD_OK)
        st = vd_db_finish(s, err);
    if (st == VD_OK && a->energy.method != NULL) {
        st = bind_energy(told, w->session, a->number, &a->energy, err);
        if (st == VD_OK)
            st = vd_db_finish(told, err);
    }
    if (st == VD_OK && !a->energy.settled) /* some may have been settled since it was told */
        return sum_answer(w, a->number, err);
    if (st == VD_OK && w->folded)
        st = run_on_row(w, ANSWER_FOLD, a->number, err);
    return st == VD_OK ? run_on_row(w, ANSWER_MARK, a->number, err) : st;
}

static vd_status write_rows(vd_writer *w, const vd_pending *batch, vd_err *err)
{
    int64_t id[VD_PENDING_INTENSITIES] = {0};
    vd_status st = VD_OK;
    int64_t now_ns = batch->n_windows > 0 ? (int64_t)batch->window[0].begin_ns : 0;
    for (size_t i = 0; st == VD_OK && i < batch->n_intensities; i++)
        st = write_intensity(w, &batch->intensity[i], now_ns, &id[i], err);
    for (size_t i = 0; st == VD_OK && i < batch->n_windows; i++)
        st = write_window(w, &batch->window[i], err);
    sqlite3_stmt *add = w->statement[SHARE_ADD];
    for (size_t i = 0; st == VD_OK && i < batch->n_shares; i++) {
        const vd_row_share *s = &batch->share[i];
        st = vd_db_bind(add, err, "iiiii", w->session, (int64_t)s->request_id, s->slot_s,
                        id[s->intensity], (int64_t)s->uj);
        if (st == VD_OK)
            st = vd_db_finish(add, err);
    }
    for (size_t i = 0; st == VD_OK && i < batch->n_requests; i++)
        st = write_request(w, &batch->request[i], err);
    for (size_t i = 0; st == VD_OK && i < batch->n_answers; i++)
        st = write_answer(w, &batch->answer[i], err);
    return st;
}

vd_status vd_writer_write(vd_writer *w, const vd_pending *batch, uint64_t wall_offset_ns,
                          vd_err *err)
{
    vd_status st = vd_writer_open(w, err);
    if (st != VD_OK)
        return st;
    w->folded |= batch->n_folded > 0 || batch->folded_uj > 0;
    w->wall_offset_ns = wall_offset_ns;
    uint64_t n_requests = w->n_requests;
    st = vd_db_run(w->db, "BEGIN IMMEDIATE", err);
    if (st == VD_OK)
        st = write_rows(w, batch, err);
    if (st == VD_OK)
        st = vd_db_run(w->db, "COMMIT", err);
    if (st == VD_OK) {
        w->n_windows += batch->n_windows;
        return VD_OK;
    }
    w->n_requests = n_requests;
    (void)sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
    if (st != VD_ERR_BUSY)
        vd_writer_close(w);
    return st;
}

vd_status vd_writer_end(vd_writer *w, uint64_t end_ns, vd_err *err)
{
    vd_status st = vd_writer_open(w, err);
    if (st != VD_OK)
        return st;
    st = vd_db_bind(w->statement[SESSION_END], err, "ii", w->session, (int64_t)end_ns);
    return st == VD_OK ? vd_db_finish(w->statement[SESSION_END], err) : st;
}
