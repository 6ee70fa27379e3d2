/*
 * record.h - one run, told so that another can be held against it: the JSON "verdant.run/1".
 *
 * What ran, where, how it was metered, every repetition by itself, how good the answers are, what
 * the electricity stands for and what making the model cost. `verdant bench`, `verdant eval` and
 * records of a running service write it; `verdant report` reads it. docs/report.md explains every
 * field to those who write their own.
 *
 * Strings of a vd_run are borrowed: of a parsed one they live as long as its JSON. A number that is
 * not known is NAN, an unknown count 0, an unknown string NULL. Immutable once filled; any thread.
 */
#ifndef VD_REPORT_RECORD_H
#define VD_REPORT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

#define VD_RUN_SCHEMA "verdant.run/1"

enum { VD_RUN_SAMPLES_MAX = 10000, VD_RUN_COSTS_MAX = 8, VD_RUN_FILE_MAX = 64 << 20 };

typedef struct vd_run_model {
    const char *name, *file; /* file: its last path component only */
    const char *sha256;      /* NULL: not computed */
    const char *quant;       /* "Q4_K_M" */
    const char *architecture, *compression; /* compression: in words, NULL: none known */
    uint64_t bytes, params;
} vd_run_model;

typedef struct vd_run_machine {
    const char *id; /* the same for all runs of one installation, says nothing about it */
    const char *cpu;
    bool virtual_machine;
    double logical_cpus; /* those that the program may use */
    uint64_t memory_bytes;
    double load_average; /* over the minute before: what else was running */
} vd_run_machine;

typedef struct vd_run_settings {
    uint64_t threads, batch, processes; /* threads: of each process */
    const char *kernels, *kv, *precision;
    uint64_t prompt_tokens, answer_tokens; /* of one sequence */
} vd_run_settings;

typedef struct vd_run_meter {
    const char *method;                     /* "rapl", "model", ... */
    double common_pct, independent_pct;     /* +- 90 %, see energy.h */
    double idle_w;                          /* the machine waiting with the model loaded */
    bool incomplete;                        /* a gap in some sample: joules are too low */
} vd_run_meter;

/* One phase, or a whole trace, of one repetition. */
typedef struct vd_run_phase {
    double seconds, joules;
    uint64_t tokens;                 /* 0: there was no such phase */
    double cpu_j, dram_j, gpu_j;     /* joules by component */
} vd_run_phase;

typedef struct vd_run_times {
    double p50, p95, p99;
} vd_run_times;

typedef struct vd_run_sample {
    bool has_pair;
    uint64_t pair, order; /* runs of one series with one `pair` stood side by side, in `order` */
    vd_run_phase prefill, decode; /* of a bench */
    vd_run_phase whole;           /* of a trace or service; tokens: of the answers */
    uint64_t answers, prompt_tokens;
    double idle_w;                /* just before this sample */
    vd_run_times ttft_s, latency_s;
    uint64_t memory_bytes;
} vd_run_sample;

typedef struct vd_run_quality {
    const char *text, *task; /* what was read; names only */
    double ppl, ppl_stderr, kl_mean, kl_stderr, top1, top1_stderr;
    const char *against;
    double accuracy, accuracy_stderr;
    uint64_t n_tasks;
} vd_run_quality;

typedef struct vd_run_carbon {
    double g_per_kwh; /* NAN: no carbon object */
    const char *zone, *kind, *scope, *basis, *boundary, *source, *valid_at;
    double pue;                                    /* all energy of the building / the machines' */
    double wue_site_l_per_kwh, wue_grid_l_per_kwh; /* water on site, in power stations */
    double server_kg, life_years, reserved_share;
} vd_run_carbon;

typedef struct vd_run_cost {
    const char *what; /* "compression", "training" */
    double joules, seconds;
} vd_run_cost;

typedef struct vd_run_trace {
    const char *mode; /* "copies", "shared"; NULL: not a trace */
    const char *name;
    uint64_t requests, clients, seed;
    double speedup;
} vd_run_trace;

typedef struct vd_run {
    const char *kind; /* "bench", "trace", "service", "eval" */
    const char *label, *series, *created, *program;
    vd_run_model model;
    vd_run_machine machine;
    vd_run_settings settings;
    vd_run_meter meter;
    vd_run_quality quality;
    vd_run_carbon carbon;
    vd_run_trace trace;
    uint64_t weights_bytes, kv_bytes, peak_bytes;
    vd_run_cost cost[VD_RUN_COSTS_MAX];
    size_t n_costs;
    vd_run_sample *sample; /* [n_samples] */
    size_t n_samples;
    const char **answer_hash; /* [n_answer_hashes], of a trace, by request */
    size_t n_answer_hashes;
    json_t *json; /* of a parsed one: what the strings point into; else NULL */
} vd_run;

/* Everything unknown. */
void vd_run_init(vd_run *run);
/* Frees the arrays and the JSON. {0} is fine. */
void vd_run_done(vd_run *run);

/* A new reference; NULL when memory is short. Unknown fields are left out. */
json_t *vd_run_json(const vd_run *run);

/* Reads and checks: VD_ERR_FORMAT names the field, what is wrong with it and what would be right.
 * `json` is kept (its own reference). */
VD_NODISCARD vd_status vd_run_parse(json_t *json, vd_run *ret_run, vd_err *err);
/* A file that holds one record. The message begins with the file's name. */
VD_NODISCARD vd_status vd_run_read(const char *path, vd_run *ret_run, vd_err *err);
/* What `verdant compress --json` or a training run printed, as one cost. `ret_what` and the cost's
 * string live as long as *ret_json (json_decref). */
VD_NODISCARD vd_status vd_run_cost_read(const char *path, vd_run_cost *ret_cost, json_t **ret_json,
                                        vd_err *err);

/* 16 hex digits that no other run has. */
enum { VD_RUN_SERIES_MAX = 17 };
void vd_run_series(char text[VD_RUN_SERIES_MAX]);
/* "2026-11-28T03:40:00Z" */
enum { VD_RUN_TIME_MAX = 24 };
void vd_run_time(char text[VD_RUN_TIME_MAX]);

#endif
