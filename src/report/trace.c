/* trace.c - see trace.h. */
#include "report/trace.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/fail.h"
#include "base/file.h"

enum { FILE_MAX = 256 << 20, TOKENS_MAX = 1 << 24 };

/* How wide lengths of chats are: the 84th percentile is 2.2 times the median. */
static const double sigma = 0.8;

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t draw(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double uniform(uint64_t *state)
{
    return ((double)(draw(state) >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(uint64_t *state)
{
    double radius = sqrt(-2 * log(uniform(state)));
    return radius * cos(2 * acos(-1.0) * uniform(state));
}

static vd_trace_options with_defaults(const vd_trace_options *options)
{
    vd_trace_options o = *options;
    o.n_clients = o.n_clients > 0 ? o.n_clients : 1;
    o.per_second = o.per_second > 0 ? o.per_second : 1;
    o.prompt_median = o.prompt_median > 0 ? o.prompt_median : 256;
    o.answer_median = o.answer_median > 0 ? o.answer_median : 64;
    o.speedup = o.speedup > 0 ? o.speedup : 1;
    o.tokens_max = o.tokens_max > 0 ? o.tokens_max : 4096;
    o.seed = o.seed > 0 ? o.seed : 1;
    return o;
}

/* Both at least 1 and together at most tokens_max: the prompt gives way, but for a token. */
static void set_tokens(vd_trace_request *r, double prompt, double answer, size_t tokens_max)
{
    double most = (double)tokens_max;
    answer = fmin(fmax(floor(answer), 1), most - 1);
    r->answer_tokens = (uint32_t)answer;
    r->prompt_tokens = (uint32_t)fmin(fmax(floor(prompt), 1), most - answer);
}

/* All arrivals lie within this: nanoseconds of it fit in 64 bits, and nobody waits longer. */
static const double longest_s = 366 * 86400.0;

static vd_status check_length(const vd_trace *trace, vd_err *err)
{
    double last = trace->request[trace->n - 1].at_s;
    if (last <= longest_s)
        return VD_OK;
    return VD_FAIL(err, VD_ERR_LIMIT, "the last request would arrive after %.3g days; a trace "
                   "lasts at most 366 (--speedup, --rate and --requests shorten it)", last / 86400);
}

static vd_status start(const vd_trace_options *o, size_t n, vd_trace *trace, vd_err *err)
{
    if (o->tokens_max < 2 || o->tokens_max > TOKENS_MAX)
        return VD_FAIL(err, VD_ERR_ARG, "requests of at most %zu tokens are not possible; from 2 "
                       "to %d", o->tokens_max, TOKENS_MAX);
    if (n > VD_TRACE_REQUESTS_MAX)
        return VD_FAIL(err, VD_ERR_LIMIT, "a trace of %zu requests; at most %d are read (say how "
                       "many with --requests)", n, VD_TRACE_REQUESTS_MAX);
    *trace = (vd_trace){.n = n, .n_clients = o->n_clients, .seed = o->seed,
                        .speedup = o->speedup};
    return vd_alloc_array(n, sizeof(*trace->request), "the trace", &trace->request, err);
}

vd_status vd_trace_make(const vd_trace_options *options, vd_trace *ret_trace, vd_err *err)
{
    vd_trace_options o = with_defaults(options);
    vd_trace trace;
    vd_status st = start(&o, o.n_requests > 0 ? o.n_requests : 32, &trace, err);
    if (st != VD_OK)
        return st;
    uint64_t state = o.seed;
    double at = 0;
    for (size_t i = 0; i < trace.n; i++) {
        vd_trace_request *r = &trace.request[i];
        at += i > 0 ? -log(uniform(&state)) / o.per_second / o.speedup : 0;
        double prompt = o.prompt_median * exp(sigma * normal(&state));
        double answer = o.answer_median * exp(sigma * normal(&state));
        r->at_s = at;
        r->client = (uint32_t)(draw(&state) % o.n_clients);
        set_tokens(r, prompt, answer, o.tokens_max);
    }
    st = check_length(&trace, err);
    if (st != VD_OK) {
        vd_trace_done(&trace);
        return st;
    }
    snprintf(trace.name, sizeof(trace.name), "Poisson, %g/s, about %g + %g tokens", o.per_second,
             o.prompt_median, o.answer_median);
    *ret_trace = trace;
    return VD_OK;
}

/* Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant's algorithm). */
static double days_of(int year, int month, int day)
{
    int y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return (double)era * 146097 + doe - 719468;
}

/* "2023-11-16 18:15:46.6805900" or seconds. NAN where it is neither. */
static double parse_time(const char *text)
{
    int year, month, day, hour, minute, n = 0;
    double second;
    char *end = NULL;
    if (sscanf(text, "%4d-%2d-%2d%*1[ T]%2d:%2d:%lf%n", &year, &month, &day, &hour, &minute,
               &second, &n) == 6 &&
        (text[n] == '\0' || text[n] == 'Z' || text[n] == '+') && month >= 1 && month <= 12 &&
        day >= 1 && day <= 31 && hour >= 0 && hour <= 23 && minute >= 0 && minute <= 59 &&
        second >= 0 && second < 61)
        return days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second;
    double value = strtod(text, &end);
    return end != text && *end == '\0' && fabs(value) <= 1e12 ? value : NAN;
}

/* A whole number from 0 to TOKENS_MAX, or -1. */
static double parse_tokens(const char *text)
{
    char *end = NULL;
    unsigned long long n = strtoull(text, &end, 10);
    bool good = text[0] >= '0' && text[0] <= '9' && *end == '\0' && n <= TOKENS_MAX;
    return good ? (double)n : -1;
}

/* Cuts `line` at its commas; returns how many fields, at most 4. */
static size_t cut(char *line, char *field[4])
{
    size_t n = 0;
    for (; line != NULL && n < 4; n++) {
        field[n] = line;
        line = strchr(line, ',');
        if (line != NULL)
            *line++ = '\0';
    }
    return n;
}

static vd_status read_line(char *line, size_t number, const vd_trace_options *o, uint64_t *state,
                           vd_trace_request *r, vd_err *err)
{
    char *field[4];
    size_t n = cut(line, field);
    double at = n == 3 ? parse_time(field[0]) : NAN;
    double prompt = n == 3 ? parse_tokens(field[1]) : -1;
    double answer = n == 3 ? parse_tokens(field[2]) : -1;
    if (isnan(at) || prompt < 1 || answer < 1)
        return VD_FAIL(err, VD_ERR_FORMAT, "line %zu: a time, prompt tokens and answer tokens (1 "
                       "to %d each) are needed, as in \"2023-11-16 18:15:46.68,374,44\"", number,
                       TOKENS_MAX);
    r->at_s = at;
    r->client = (uint32_t)(draw(state) % o->n_clients);
    set_tokens(r, prompt, answer, o->tokens_max);
    return VD_OK;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text != '\0'; text++)
        n += *text == '\n' || text[1] == '\0';
    return n;
}

static vd_status read_lines(char *text, const vd_trace_options *o, vd_trace *trace, vd_err *err)
{
    size_t n_lines = count_lines(text), number = 0, n = 0;
    size_t most = o->n_requests > 0 && o->n_requests < n_lines ? o->n_requests : n_lines;
    uint64_t state = o->seed;
    vd_status st = start(o, most, trace, err);
    for (char *line = text, *next; st == VD_OK && line != NULL && n < most; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        bool header = ++number == 1 && strncmp(line, "TIMESTAMP,", 10) == 0;
        if (header || line[0] == '\0')
            continue;
        st = read_line(line, number, o, &state, &trace->request[n], err);
        n += st == VD_OK;
        if (n > 1 && trace->request[n - 1].at_s < trace->request[n - 2].at_s)
            st = VD_FAIL(err, VD_ERR_FORMAT, "line %zu: its time is before that of the line above",
                         number);
    }
    if (st == VD_OK && n == 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "there is no request in it");
    trace->n = n;
    return st;
}

vd_status vd_trace_parse(char *text, size_t n, const vd_trace_options *options, vd_trace *ret_trace,
                         vd_err *err)
{
    vd_trace_options o = with_defaults(options);
    vd_trace trace = {0};
    vd_status st = VD_OK;
    if (strlen(text) != n)
        st = VD_FAIL(err, VD_ERR_FORMAT, "byte %zu is 0: this is no text", strlen(text));
    if (st == VD_OK)
        st = read_lines(strncmp(text, "\xef\xbb\xbf", 3) == 0 ? text + 3 : text, &o, &trace, err);
    double begin = st == VD_OK ? trace.request[0].at_s : 0;
    for (size_t i = 0; st == VD_OK && i < trace.n; i++)
        trace.request[i].at_s = (trace.request[i].at_s - begin) / o.speedup;
    if (st == VD_OK)
        st = check_length(&trace, err);
    if (st != VD_OK) {
        vd_trace_done(&trace);
        return st;
    }
    *ret_trace = trace;
    return VD_OK;
}

vd_status vd_trace_read(const char *path, const vd_trace_options *options, vd_trace *ret_trace,
                        vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_status st = vd_file_read(path, FILE_MAX, &text, &n, err);
    if (st != VD_OK)
        return st;
    st = vd_trace_parse(text, n, options, ret_trace, err);
    vd_free(text);
    if (st != VD_OK) {
        vd_err_prefix(err, "%s", path);
        return st;
    }
    const char *slash = strrchr(path, '/');
    snprintf(ret_trace->name, sizeof(ret_trace->name), "%.90s", slash != NULL ? slash + 1 : path);
    return VD_OK;
}

void vd_trace_done(vd_trace *trace)
{
    vd_free(trace->request);
    *trace = (vd_trace){0};
}

size_t vd_trace_longest(const vd_trace *trace)
{
    size_t longest = 0;
    for (size_t i = 0; i < trace->n; i++) {
        size_t n = (size_t)trace->request[i].prompt_tokens + trace->request[i].answer_tokens;
        longest = n > longest ? n : longest;
    }
    return longest;
}
