/* figures.c - the list of what is compared. See figures.h. */
#include "report/figures.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

static double per_token(const vd_run_phase *phase, bool joules)
{
    return (joules ? phase->joules : phase->seconds) / (double)phase->tokens;
}

static double bench_j_answer(const vd_pairs *p, int side, const vd_run_sample *own,
                             const vd_run_sample *twin)
{
    return p->load.prompt_tokens * per_token(&own->prefill, true) +
           p->load.answer_tokens * per_token(&own->decode, true);
}

static double bench_s_answer(const vd_pairs *p, int side, const vd_run_sample *own,
                             const vd_run_sample *twin)
{
    return p->load.prompt_tokens * per_token(&own->prefill, false) +
           p->load.answer_tokens * per_token(&own->decode, false);
}

static double decode_j(const vd_pairs *p, int side, const vd_run_sample *own,
                       const vd_run_sample *twin)
{
    return per_token(&own->decode, true);
}

static double prefill_j(const vd_pairs *p, int side, const vd_run_sample *own,
                        const vd_run_sample *twin)
{
    return per_token(&own->prefill, true);
}

static double decode_speed(const vd_pairs *p, int side, const vd_run_sample *own,
                           const vd_run_sample *twin)
{
    return 1 / per_token(&own->decode, false);
}

static double prefill_speed(const vd_pairs *p, int side, const vd_run_sample *own,
                            const vd_run_sample *twin)
{
    return 1 / per_token(&own->prefill, false);
}

/* The machine is there for as long as the slower of the two needs, and waits for the rest. */
static double window_seconds(const vd_run_sample *own, const vd_run_sample *twin)
{
    bool waits = twin != NULL && isfinite(own->idle_w) && isfinite(twin->idle_w);
    return waits ? fmax(own->whole.seconds, twin->whole.seconds) : own->whole.seconds;
}

static double whole_j_answer(const vd_pairs *p, int side, const vd_run_sample *own,
                             const vd_run_sample *twin)
{
    double rest = window_seconds(own, twin) - own->whole.seconds;
    double idle = rest > 0 ? rest * own->idle_w : 0;
    return (own->whole.joules + idle) / (double)own->answers;
}

static double whole_j_answer_own(const vd_pairs *p, int side, const vd_run_sample *own,
                                 const vd_run_sample *twin)
{
    return own->whole.joules / (double)own->answers;
}

static double whole_j_token(const vd_pairs *p, int side, const vd_run_sample *own,
                            const vd_run_sample *twin)
{
    return whole_j_answer(p, side, own, twin) * (double)own->answers / (double)own->whole.tokens;
}

static double whole_seconds(const vd_pairs *p, int side, const vd_run_sample *own,
                            const vd_run_sample *twin)
{
    return own->whole.seconds;
}

static double whole_s_answer(const vd_pairs *p, int side, const vd_run_sample *own,
                             const vd_run_sample *twin)
{
    return window_seconds(own, twin) / (double)own->answers;
}

static double whole_memory(const vd_pairs *p, int side, const vd_run_sample *own,
                           const vd_run_sample *twin)
{
    return own->memory_bytes > 0 ? (double)own->memory_bytes : NAN;
}

#define TIME(name, field)                                                                          \
    static double name(const vd_pairs *p, int side, const vd_run_sample *own,                      \
                       const vd_run_sample *twin)                                                  \
    {                                                                                              \
        return own->field > 0 ? own->field : NAN;                                                  \
    }
TIME(ttft_p50, ttft_s.p50)
TIME(ttft_p95, ttft_s.p95)
TIME(latency_p50, latency_s.p50)
TIME(latency_p95, latency_s.p95)
TIME(latency_p99, latency_s.p99)
#undef TIME

/* The first two are joules and machine seconds per answer: the footprint is made of them. */
static const vd_metric of_bench[] = {
    {"j_per_answer", "Energy per answer", "J", true, false, "needs", "joules per answer",
     bench_j_answer},
    {"s_per_answer", "Machine time per answer", "s", false, false, "needs",
     "machine time per answer", bench_s_answer},
    {"decode_j_per_token", "Energy per written token", "J", true, false, "needs",
     "joules per written token", decode_j},
    {"prefill_j_per_token", "Energy per read token", "J", true, false, "needs",
     "joules per read token", prefill_j},
    {"decode_tok_s", "Writing speed", "tok/s", false, true, "reaches", "writing speed",
     decode_speed},
    {"prefill_tok_s", "Reading speed", "tok/s", false, true, "reaches", "reading speed",
     prefill_speed},
};

static const vd_metric of_whole[] = {
    {"j_per_answer", "Energy per answer, same window", "J", true, false, "needs",
     "joules per answer", whole_j_answer},
    {"s_per_answer", "Machine time per answer, same window", "s", false, false, "needs",
     "machine time per answer", whole_s_answer},
    {"j_per_answer_own_window", "Energy per answer, own window", "J", true, false, "needs",
     "joules per answer until its own last one", whole_j_answer_own},
    {"j_per_token", "Energy per written token", "J", true, false, "needs",
     "joules per written token", whole_j_token},
    {"trace_s", "First arrival to last answer", "s", false, false, "needs",
     "time for the whole trace", whole_seconds},
    {"ttft_p50_s", "First token, median", "s", false, false, "needs",
     "median time to the first token", ttft_p50},
    {"ttft_p95_s", "First token, 95th percentile", "s", false, false, "needs",
     "95th percentile of the time to the first token", ttft_p95},
    {"latency_p50_s", "Last token, median", "s", false, false, "needs",
     "median time to the last token", latency_p50},
    {"latency_p95_s", "Last token, 95th percentile", "s", false, false, "needs",
     "95th percentile of the time to the last token", latency_p95},
    {"latency_p99_s", "Last token, 99th percentile", "s", false, false, "needs",
     "99th percentile of the time to the last token", latency_p99},
    {"memory_bytes", "Memory of all processes", "B", false, false, "needs", "memory",
     whole_memory},
};

/* A service's hours stand for themselves: no twin, no common window. */
static const vd_metric of_service[] = {
    {"j_per_answer", "Energy per answer", "J", true, false, "needs", "joules per answer",
     whole_j_answer_own},
    {"s_per_answer", "Machine time per answer", "s", false, false, "needs",
     "machine time per answer", whole_s_answer},
    {"j_per_token", "Energy per written token", "J", true, false, "needs",
     "joules per written token", whole_j_token},
    {"ttft_p50_s", "First token, median", "s", false, false, "needs",
     "median time to the first token", ttft_p50},
    {"latency_p50_s", "Last token, median", "s", false, false, "needs",
     "median time to the last token", latency_p50},
    {"latency_p95_s", "Last token, 95th percentile", "s", false, false, "needs",
     "95th percentile of the time to the last token", latency_p95},
};

const vd_metric *vd_metrics_of(const char *kind, size_t *ret_n)
{
    bool bench = strcmp(kind, "bench") == 0, service = strcmp(kind, "service") == 0;
    *ret_n = bench     ? VD_COUNT(of_bench)
             : service ? VD_COUNT(of_service)
                       : VD_COUNT(of_whole);
    return bench ? of_bench : service ? of_service : of_whole;
}

double vd_tokens_per_answer(const vd_pairs *p, int side)
{
    const vd_run *run = p->run[side];
    double tokens = 0, answers = 0;
    if (strcmp(run->kind, "bench") == 0)
        return p->load.answer_tokens;
    for (size_t i = 0; i < run->n_samples; i++) {
        tokens += (double)run->sample[i].whole.tokens;
        answers += (double)run->sample[i].answers;
    }
    return tokens / answers;
}

double vd_figure(const vd_pairs *p, const vd_metric *metric, int side)
{
    const vd_run *run = p->run[side];
    size_t n = p->n > 0 ? p->n : run->n_samples;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const vd_run_sample *own = p->n > 0 ? p->sample[side][i] : &run->sample[i];
        const vd_run_sample *twin = p->n > 0 ? p->sample[1 - side][i] : NULL;
        sum += log(metric->value(p, side, own, twin));
    }
    return n > 0 ? exp(sum / (double)n) : NAN;
}
