/*
 * bench.h - how `verdant bench` is cut: options (cmd_bench.c), the measuring of models side by side
 * (bench_run.c), traces of requests for private copies and for one server (bench_trace.c and what
 * it uses), and what is printed (bench_print.c). Single-owner, but for the engines' own threads.
 */
#ifndef VD_CLI_BENCH_H
#define VD_CLI_BENCH_H

#include "cli/bench_limit.h"
#include "cli/bench_phase.h"
#include "cli/progress.h"
#include "cli/run_facts.h"

enum {
    VD_BENCH_RUNS_MAX = 100,
    VD_BENCH_MODELS_MAX = 8,
    VD_BENCH_TOKENS_MAX = 1 << 20
};

typedef struct vd_bench_args {
    const char *const *model; /* [n_models], borrowed of argv */
    size_t n_models;
    size_t n_prompt, n_answer, n_depth, n_batch, n_runs; /* n_runs 0: not said */
    bool json, sweep;
    const char *folder, *zone; /* -o (of a sweep a file), --zone */
    double pue, wue_site, wue_grid; /* of the records; NAN: not said */
    const char *work;               /* --work; NULL: not said */
    /* A trace: */
    const char *trace;                    /* --trace; NULL: there is none */
    size_t n_copies;                      /* 0: no private copies */
    bool shared;
    size_t copy_threads;                  /* 0: the cores shared out */
    size_t n_requests, n_clients, seed;   /* 0: not said */
    double per_second, speedup;           /* 0: not said */
    vd_engine_options engine;
} vd_bench_args;

/* One model with all that was measured of it. */
typedef struct vd_bench_model {
    const char *name; /* as given */
    char *path;
    vd_engine *engine;
    vd_run_facts facts;
    vd_run run;
    uint64_t load_ns;           /* opening the file until it could compute */
    uint64_t weight_bytes;      /* read by a decode step */
    uint64_t kv_bytes;          /* read by each of its sequences, in the middle of the answer */
    uint64_t pss_bytes;         /* at the end; 0: not known */
    vd_bandwidth bandwidth;     /* at weight_bytes */
} vd_bench_model;

typedef struct vd_bench {
    const vd_bench_args *args;
    vd_meter *meter;
    vd_progress progress;
    char series[VD_RUN_SERIES_MAX];
    vd_bench_model model[VD_BENCH_MODELS_MAX];
    size_t n_models;
    size_t n_done, n_total;
} vd_bench;

/* What the command line says of the building. */
void vd_bench_building(const vd_bench_args *args, vd_run_carbon *carbon);

/* Opens the models, measures them run for run in the order A B, B A, A B, ... and leaves a record
 * in each. vd_bench_done in any case. */
VD_NODISCARD vd_status vd_bench_models(vd_bench *bench, vd_err *err);
void vd_bench_done(vd_bench *bench);

/* Decode over threads and batch sizes, as a table or JSON, and a page to args->folder (a file).
 * Returns the exit status. */
int vd_bench_sweep(const vd_bench_args *args);

/* Lines of work, as bench_work.c says, from the file that args name. Returns the exit status. */
int vd_bench_work(const vd_bench_args *args);

/* Private copies and a shared server, as args say, each answering the same trace of requests, in
 * turn; prints or writes a record of each. Returns the exit status. */
int vd_bench_trace(const vd_bench_args *args);

/* One phase over all runs: medians. */
typedef struct vd_bench_summary {
    uint64_t n_tokens; /* per run */
    double tok_s, min_tok_s, max_tok_s, j_per_tok;
} vd_bench_summary;

vd_bench_summary vd_bench_summarize(const vd_run *run, bool prefill);

/* Writes the records below args->folder, and prints JSON or a table. Returns the exit status. */
int vd_bench_print(const vd_bench *bench);
/* FOLDER/NAME.json for each run: its model's name, or of a trace "copies" or "shared". */
VD_NODISCARD vd_status vd_bench_write(const char *folder, const vd_run *const *run, size_t n,
                                      vd_err *err);

#endif
