/* db.c - see db.h. */
#include "energy/ledger/db.h"

#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"

enum { BUSY_MS = 5000, HEADER = 16 };

/* ---- memory: SQLite asks how large a block is, so its size stands before it ------------------*/

static void *db_malloc(int n)
{
    char *block = vd_alloc(HEADER + (size_t)n);
    if (block == NULL)
        return NULL;
    memcpy(block, &n, sizeof(n));
    return block + HEADER;
}

static void db_free(void *block)
{
    vd_free((char *)block - HEADER);
}

static int db_size(void *block)
{
    int n = 0;
    if (block != NULL)
        memcpy(&n, (char *)block - HEADER, sizeof(n));
    return n;
}

static void *db_realloc(void *block, int n)
{
    char *grown = vd_realloc((char *)block - HEADER, HEADER + (size_t)n);
    if (grown == NULL)
        return NULL;
    memcpy(grown, &n, sizeof(n));
    return grown + HEADER;
}

static int db_round(int n)
{
    return (n + 7) & ~7;
}

static int db_init(void *ctx)
{
    return SQLITE_OK;
}

static void db_shutdown(void *ctx)
{
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static bool ready;

static void set_up(void)
{
    static sqlite3_mem_methods memory = {.xMalloc = db_malloc,
                                         .xFree = db_free,
                                         .xRealloc = db_realloc,
                                         .xSize = db_size,
                                         .xRoundup = db_round,
                                         .xInit = db_init,
                                         .xShutdown = db_shutdown};
    sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
    ready = sodium_init() >= 0 && sqlite3_initialize() == SQLITE_OK;
}

/* ---- vd_mark ---------------------------------------------------------------------------------*/

static void add_value(crypto_generichash_state *hash, sqlite3_value *value)
{
    unsigned char kind = (unsigned char)sqlite3_value_type(value);
    uint64_t bits = 0;
    const void *data = &bits;
    if (kind == SQLITE_INTEGER) {
        bits = (uint64_t)sqlite3_value_int64(value);
    } else if (kind == SQLITE_FLOAT) {
        double number = sqlite3_value_double(value);
        memcpy(&bits, &number, sizeof(bits));
    } else if (kind != SQLITE_NULL) {
        data = sqlite3_value_blob(value);
        bits = (uint64_t)sqlite3_value_bytes(value);
    }
    crypto_generichash_update(hash, &kind, 1);
    crypto_generichash_update(hash, (const unsigned char *)&bits, sizeof(bits));
    if (data != &bits && bits > 0)
        crypto_generichash_update(hash, data, bits);
}

static void mark(sqlite3_context *context, int n, sqlite3_value **value)
{
    crypto_generichash_state hash;
    unsigned char out[16];
    int64_t number;
    crypto_generichash_init(&hash, NULL, 0, sizeof(out));
    for (int i = 0; i < n; i++)
        add_value(&hash, value[i]);
    crypto_generichash_final(&hash, out, sizeof(out));
    memcpy(&number, out, sizeof(number));
    sqlite3_result_int64(context, number);
}

/* ---- opening and errors ----------------------------------------------------------------------*/

vd_status vd_db_fail(sqlite3 *db, int code, const char *what, vd_err *err)
{
    static const struct {
        int code;
        vd_status status;
    } codes[] = {
        {SQLITE_NOMEM, VD_ERR_NOMEM},    {SQLITE_BUSY, VD_ERR_BUSY},
        {SQLITE_LOCKED, VD_ERR_BUSY},    {SQLITE_READONLY, VD_ERR_PERM},
        {SQLITE_PERM, VD_ERR_PERM},      {SQLITE_AUTH, VD_ERR_PERM},
        {SQLITE_CORRUPT, VD_ERR_FORMAT}, {SQLITE_NOTADB, VD_ERR_FORMAT},
        {SQLITE_INTERRUPT, VD_ERR_LIMIT}, {SQLITE_CONSTRAINT, VD_ERR_ARG},
    };
    vd_status status = VD_ERR_IO;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (codes[i].code == (code & 0xff))
            status = codes[i].status;
    const char *path = db != NULL ? sqlite3_db_filename(db, "main") : NULL;
    const char *why = db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    if ((code & 0xff) == SQLITE_CORRUPT)
        what = "damaged; moved away, it makes room for a new one";
    else if ((code & 0xff) == SQLITE_NOTADB)
        what = "this is no ledger; name another file";
    return VD_FAIL(err, status, "%s%s%s: %s", path != NULL ? path : "",
                   path != NULL ? ": " : "", what, why);
}

static vd_status open_once(const char *name, int flags, sqlite3 **ret_db, vd_err *err)
{
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(name, &db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    vd_status st = VD_OK;
    if (code != SQLITE_OK) {
        st = VD_FAIL(err, (code & 0xff) == SQLITE_NOMEM ? VD_ERR_NOMEM : VD_ERR_IO, "%s: %s", name,
                     db != NULL ? sqlite3_errmsg(db) : sqlite3_errstr(code));
        goto out;
    }
    sqlite3_extended_result_codes(db, 1);
    sqlite3_busy_timeout(db, BUSY_MS);
    sqlite3_limit(db, SQLITE_LIMIT_LENGTH, 1 << 24);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    code = sqlite3_create_function_v2(db, "vd_mark", -1,
                                      SQLITE_UTF8 | SQLITE_DETERMINISTIC | SQLITE_INNOCUOUS, NULL,
                                      mark, NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        st = vd_db_fail(db, code, "vd_mark", err);
        goto out;
    }
    *ret_db = db;
    db = NULL;
out:
    vd_db_close(db);
    return st;
}

/* A reader of a file in WAL mode makes small files beside it. Where it may not, and no writer has
 * left one, the file is read as one that nobody changes. */
static vd_status open_immutable(const char *path, sqlite3 **ret_db, vd_err *err)
{
    vd_buf uri;
    vd_buf_init(&uri, 16384);
    vd_buf_puts(&uri, "file:");
    for (const char *c = path; *c != '\0'; c++)
        if (strchr("%?#", *c) != NULL)
            vd_buf_printf(&uri, "%%%02x", (unsigned char)*c);
        else
            vd_buf_putc(&uri, *c);
    vd_buf_puts(&uri, "?immutable=1");
    vd_status st = vd_buf_status(&uri, "a path", err);
    if (st == VD_OK)
        st = open_once(vd_buf_text(&uri), SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, ret_db, err);
    vd_buf_done(&uri);
    return st;
}

static bool has_wal(const char *path)
{
    vd_buf name;
    vd_buf_init(&name, 16384);
    vd_buf_printf(&name, "%s-wal", path);
    bool has = name.failed != VD_OK || access(vd_buf_text(&name), F_OK) == 0;
    vd_buf_done(&name);
    return has;
}

vd_status vd_db_open(const char *path, bool read_only, sqlite3 **ret_db, vd_err *err)
{
    sqlite3 *db = NULL;
    pthread_once(&once, set_up);
    if (!ready)
        return VD_FAIL(err, VD_ERR_NOMEM, "SQLite or libsodium cannot start");
    struct stat about;
    if (stat(path, &about) == 0 && !S_ISREG(about.st_mode))
        return VD_FAIL(err, VD_ERR_FORMAT, "%s: this is %s, and no ledger; name a file", path,
                       S_ISDIR(about.st_mode) ? "a directory" : "no file");
    if (!read_only) { /* who asked how much is for the owner's eyes; SQLite would ask umask */
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0)
            close(fd); /* else it is there, or SQLite says why it cannot be */
    }
    int flags = read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE;
    vd_status st = open_once(path, flags, &db, err);
    if (st != VD_OK)
        return st;
    if (read_only && access(path, R_OK) == 0 && !has_wal(path)) {
        int code = sqlite3_exec(db, "PRAGMA schema_version", NULL, NULL, NULL) & 0xff;
        if (code == SQLITE_CANTOPEN || code == SQLITE_READONLY) {
            vd_db_close(db);
            return open_immutable(path, ret_db, err);
        }
    }
    *ret_db = db;
    return VD_OK;
}

void vd_db_close(sqlite3 *db)
{
    sqlite3_close_v2(db);
}

/* ---- statements ------------------------------------------------------------------------------*/

vd_status vd_db_run(sqlite3 *db, const char *sql, vd_err *err)
{
    int code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    return code == SQLITE_OK ? VD_OK : vd_db_fail(db, code, "writing", err);
}

vd_status vd_db_prepare(sqlite3 *db, const char *sql, sqlite3_stmt **ret, vd_err *err)
{
    int code = sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return code == SQLITE_OK ? VD_OK : vd_db_fail(db, code, "reading", err);
}

vd_status vd_db_bind(sqlite3_stmt *statement, vd_err *err, const char *kinds, ...)
{
    va_list args;
    int code = SQLITE_OK;
    va_start(args, kinds);
    for (int i = 0; kinds[i] != '\0' && code == SQLITE_OK; i++) {
        if (kinds[i] == 'i')
            code = sqlite3_bind_int64(statement, i + 1, va_arg(args, int64_t));
        else if (kinds[i] == 'r')
            code = sqlite3_bind_double(statement, i + 1, va_arg(args, double));
        else
            code = sqlite3_bind_text(statement, i + 1, va_arg(args, const char *), -1,
                                     SQLITE_STATIC);
    }
    va_end(args);
    return code == SQLITE_OK ? VD_OK
                             : vd_db_fail(sqlite3_db_handle(statement), code, "binding", err);
}

vd_status vd_db_step(sqlite3_stmt *statement, bool *ret_row, vd_err *err)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return vd_db_fail(sqlite3_db_handle(statement), code, "reading or writing", err);
    *ret_row = code == SQLITE_ROW;
    return VD_OK;
}

vd_status vd_db_finish(sqlite3_stmt *statement, vd_err *err)
{
    bool row = true;
    vd_status st = VD_OK;
    while (st == VD_OK && row)
        st = vd_db_step(statement, &row, err);
    sqlite3_reset(statement);
    return st;
}

vd_status vd_db_number(sqlite3 *db, const char *sql, int64_t *ret, vd_err *err)
{
    sqlite3_stmt *statement = NULL;
    bool row = false;
    vd_status st = vd_db_prepare(db, sql, &statement, err);
    if (st == VD_OK)
        st = vd_db_step(statement, &row, err);
    if (st == VD_OK)
        *ret = row ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_finalize(statement);
    return st;
}

const char *vd_db_text(sqlite3_stmt *statement, int column)
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    return text != NULL ? (const char *)text : "";
}
