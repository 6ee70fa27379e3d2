/*
 * trace.h - who asks for how many tokens when: the requests that two ways of serving both answer.
 *
 * Made from a seed (Poisson arrivals, lengths log-normal around their medians, as chats have them),
 * or read from a CSV in the shape of Azure's published traces of LLM requests,
 *
 *   TIMESTAMP,ContextTokens,GeneratedTokens
 *   2023-11-16 18:15:46.6805900,374,44
 *
 * where the time may also be seconds. Immutable once made.
 */
#ifndef VD_REPORT_TRACE_H
#define VD_REPORT_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

enum { VD_TRACE_REQUESTS_MAX = 100000, VD_TRACE_CLIENTS_MAX = 4096, VD_TRACE_NAME_MAX = 96 };

typedef struct vd_trace_request {
    double at_s; /* after the first one's arrival */
    uint32_t prompt_tokens, answer_tokens; /* at least 1 */
    uint32_t client;
} vd_trace_request;

typedef struct vd_trace {
    char name[VD_TRACE_NAME_MAX]; /* file name, or how it was made */
    vd_trace_request *request;    /* [n], by time; the first at 0 */
    size_t n, n_clients;
    uint64_t seed;
    double speedup;
} vd_trace;

/* 0 means the default in parentheses. */
typedef struct vd_trace_options {
    size_t n_requests;   /* (32; of a file: all) */
    size_t n_clients;    /* (1) each request is one of theirs, by the seed */
    double per_second;   /* of those made: mean arrivals per second (1) */
    double prompt_median, answer_median; /* (256, 64) */
    double speedup;      /* arrivals so many times as fast (1) */
    size_t tokens_max;   /* prompt and answer together at most: longer ones are cut (4,096) */
    uint64_t seed;       /* (1) */
} vd_trace_options;

/* vd_trace_done. VD_ERR_NOMEM, VD_ERR_ARG. */
VD_NODISCARD vd_status vd_trace_make(const vd_trace_options *options, vd_trace *ret_trace,
                                     vd_err *err);
/* A trace of n bytes of CSV with a NUL behind them, which are cut up; it has no name. VD_ERR_FORMAT
 * names the line; VD_ERR_LIMIT: too many requests, or over more than a year. */
VD_NODISCARD vd_status vd_trace_parse(char *text, size_t n, const vd_trace_options *options,
                                      vd_trace *ret_trace, vd_err *err);
/* The same of a file; VD_ERR_IO too. */
VD_NODISCARD vd_status vd_trace_read(const char *path, const vd_trace_options *options,
                                     vd_trace *ret_trace, vd_err *err);
void vd_trace_done(vd_trace *trace);

/* The longest request, prompt and answer together. */
size_t vd_trace_longest(const vd_trace *trace);

#endif
