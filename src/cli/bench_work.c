/*
 * bench_work.c - lines of work from a file or a pipe, a line of JSON for each: for scripts that
 * want measurements in an order of their own, such as in turn with another engine's.
 *
 *   room PHASE N DEPTH BATCH    such a line will come; before the first of them
 *   PHASE N DEPTH BATCH         measures it now; PHASE is prefill or decode
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/json.h"
#include "cli/bench.h"
#include "cli/bench_limit.h"
#include "cli/cli.h"
#include "model/store.h"

typedef struct worker {
    const vd_bench_args *args;
    char *path;
    vd_engine_options options;
    vd_bench_phase phase;
    uint64_t load_ns, n_lines;
} worker;

static bool take_word(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0)
        return false;
    *at += n;
    return true;
}

/* A whole number behind blanks; one too large for the type is the largest. */
static bool take_number(const char **at, size_t *ret)
{
    const char *digits = *at + strspn(*at, " \t");
    char *end = NULL;
    if (digits == *at || *digits < '0' || *digits > '9')
        return false;
    *ret = (size_t)strtoull(digits, &end, 10);
    *at = end;
    return true;
}

static vd_status parse(const char *line, vd_bench_shape *ret_shape, bool *ret_room, vd_err *err)
{
    vd_bench_shape s = {0};
    const char *at = line;
    *ret_room = take_word(&at, "room ");
    s.prefill = take_word(&at, "prefill");
    bool good = (s.prefill || take_word(&at, "decode")) && take_number(&at, &s.n) &&
                take_number(&at, &s.depth) && take_number(&at, &s.batch);
    if (!good || at[strspn(at, " \t")] != '\0')
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "a line of work is \"prefill|decode N DEPTH BATCH\", not \"%.60s\"", line);
    if (s.n < 1 || s.n > VD_BENCH_TOKENS_MAX || s.depth > VD_BENCH_TOKENS_MAX || s.batch < 1 ||
        s.batch > VD_BENCH_BATCH_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "\"%.60s\": N is 1 to %d, DEPTH 0 to %d, BATCH 1 to %d", line,
                       VD_BENCH_TOKENS_MAX, VD_BENCH_TOKENS_MAX, VD_BENCH_BATCH_MAX);
    *ret_shape = s;
    return VD_OK;
}

/* One line at once: who reads waits for it. */
static vd_status put(json_t *json, vd_err *err)
{
    char *text = vd_json_text(json);
    json_decref(json);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a line of JSON");
    bool good = printf("%s\n", text) >= 0 && fflush(stdout) == 0;
    vd_free(text);
    return good ? VD_OK : VD_FAIL(err, VD_ERR_IO, "cannot write: %s", strerror(errno));
}

static vd_status open_engine(worker *w, vd_err *err)
{
    uint64_t begin_ns = vd_now_ns();
    vd_status st = vd_engine_open(w->path, &w->options, &w->phase.engine, err);
    if (st != VD_OK)
        return st;
    w->load_ns = vd_now_ns() - begin_ns;
    vd_engine_info info = vd_engine_info_get(w->phase.engine);
    if (info.encoder)
        return VD_FAIL(err, VD_ERR_UNSUPPORTED, "%s makes embeddings, no text", w->path);
    return put(json_pack("{s:s,s:s,s:I,s:f,s:I,s:I,s:I}", "verdant", VD_VERSION, "kernels",
                         info.kernels, "threads", (json_int_t)info.n_threads, "load_s",
                         (double)w->load_ns * 1e-9, "weight_bytes",
                         (json_int_t)vd_bench_weight_bytes(w->phase.engine),
                         "prefill_products",
                         (json_int_t)vd_bench_products(w->phase.engine, true), "decode_products",
                         (json_int_t)vd_bench_products(w->phase.engine, false)),
               err);
}

static vd_status measure(worker *w, const vd_bench_shape *s, vd_err *err)
{
    vd_bench_speed speed;
    vd_engine_options needed = w->options;
    vd_bench_room(s, &needed);
    if (needed.ctx_tokens > w->options.ctx_tokens || needed.kv_tokens > w->options.kv_tokens ||
        needed.max_running > w->options.max_running) {
        if (w->phase.engine != NULL)
            return VD_FAIL(err, VD_ERR_ARG, "a line needs more room than was said before");
        w->options = needed;
    }
    if (w->phase.engine == NULL) {
        vd_status st = open_engine(w, err);
        if (st != VD_OK)
            return st;
    }
    vd_status st = vd_bench_phase_run(&w->phase, s, ++w->n_lines, &speed, err);
    if (st != VD_OK)
        return st;
    double seconds = (double)(speed.to.at_ns - speed.from.at_ns) * 1e-9;
    size_t at = s->depth + s->n / 2;
    return put(json_pack("{s:s,s:I,s:I,s:I,s:I,s:f,s:f,s:f,s:I,s:f,s:I}", "phase",
                         s->prefill ? "prefill" : "decode", "n", (json_int_t)s->n, "depth",
                         (json_int_t)s->depth, "batch", (json_int_t)s->batch, "tokens",
                         (json_int_t)speed.tokens, "seconds", seconds, "tok_s",
                         (double)speed.tokens / seconds, "joules",
                         vd_joules_between(&speed.from, &speed.to, VD_PART_N), "context_tokens",
                         (json_int_t)speed.context_tokens, "context_s",
                         (double)speed.context_ns * 1e-9, "kv_bytes",
                         (json_int_t)vd_bench_kv_bytes(w->phase.engine, at)),
               err);
}

static vd_status work(worker *w, FILE *file, vd_err *err)
{
    char line[256];
    vd_status st = VD_OK;
    while (st == VD_OK && fgets(line, sizeof(line), file) != NULL) {
        vd_bench_shape shape;
        bool room;
        if (strchr(line, '\n') == NULL && !feof(file))
            return VD_FAIL(err, VD_ERR_FORMAT, "a line of work has at most %zu characters, not "
                           "\"%.60s...\"", sizeof(line) - 2, line);
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0')
            continue;
        st = parse(line, &shape, &room, err);
        if (st == VD_OK && room)
            vd_bench_room(&shape, &w->options);
        else if (st == VD_OK)
            st = measure(w, &shape, err);
    }
    if (st == VD_OK && ferror(file))
        st = VD_FAIL(err, VD_ERR_IO, "cannot read the lines of work: %s", strerror(errno));
    if (st == VD_OK && w->phase.engine != NULL)
        st = put(json_pack("{s:I,s:I}", "peak_rss_bytes", (json_int_t)vd_bench_peak_bytes(),
                           "pss_bytes", (json_int_t)vd_bench_pss_bytes(getpid())),
                 err);
    return st;
}

int vd_bench_work(const vd_bench_args *args)
{
    worker w = {.args = args, .options = args->engine};
    bool std = strcmp(args->work, "-") == 0;
    vd_err err = {0};
    FILE *file = std ? stdin : fopen(args->work, "re");
    vd_status st = file != NULL ? VD_OK
                                : VD_FAIL(&err, VD_ERR_IO, "cannot open %s: %s", args->work,
                                          strerror(errno));
    if (st == VD_OK)
        st = vd_store_resolve(args->model[0], &w.path, &err);
    if (st == VD_OK)
        st = vd_meter_open(NULL, &w.phase.meter, &err);
    if (st == VD_OK)
        st = work(&w, file, &err);
    if (file != NULL && !std)
        fclose(file);
    vd_engine_free(w.phase.engine);
    vd_meter_close(w.phase.meter);
    vd_free(w.path);
    return st == VD_OK ? VD_EXIT_OK : vd_cli_failed("bench", &err);
}
