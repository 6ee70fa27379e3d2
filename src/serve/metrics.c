/* metrics.c - see metrics.h; checked by `promtool check metrics` in tests/py. */
#include "serve/metrics.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <dirent.h>
#include <sys/resource.h>

#include "base/checked.h"
#include "serve/books.h"
#include "serve/endpoints.h"
#include "serve/jout.h"
#include "serve/route.h"
#include "serve/server.h"
#include <verdant/verdant.h>

#define RELAXED memory_order_relaxed

/* Upper bounds in nanoseconds: 1 ms to 5 minutes, then +Inf. */
static const uint64_t bounds_ns[VD_N_BUCKETS] = {
    1000000,    2500000,    5000000,    10000000,    25000000,    50000000,    100000000,
    250000000,  1000000000, 2500000000, 10000000000, 30000000000, 100000000000, 300000000000,
};

static const uint16_t statuses[] = {0,   200, 400, 403, 404, 405, 408, 413, 414,
                                    429, 431, 500, 501, 503, 505};

static unsigned status_slot(unsigned http)
{
    for (unsigned i = 1; i < VD_COUNT(statuses); i++)
        if (statuses[i] == http)
            return i;
    return 0; /* nothing was sent */
}

void vd_histogram_add(vd_histogram *h, uint64_t duration_ns)
{
    size_t i = 0;
    while (i < VD_N_BUCKETS && duration_ns > bounds_ns[i])
        i++;
    atomic_fetch_add_explicit(&h->bucket[i], 1, RELAXED);
    atomic_fetch_add_explicit(&h->sum_ns, duration_ns, RELAXED);
}

void vd_metrics_request(vd_metrics *m, unsigned route, unsigned http, uint64_t duration_ns)
{
    atomic_fetch_add_explicit(&m->requests[route][status_slot(http)], 1, RELAXED);
    vd_histogram_add(&m->duration, duration_ns);
}

void vd_metrics_spent(vd_metrics *m, size_t model, const vd_spent *spent)
{
    const vd_energy *e = &spent->energy;
    const uint64_t phases[VD_N_PHASES] = {e->prefill_uj, e->decode_uj, e->idle_share_uj};
    for (size_t i = 0; i < VD_N_PHASES; i++)
        atomic_fetch_add_explicit(&m->phase_uj[model][i], phases[i], RELAXED);
    atomic_fetch_add_explicit(&m->cpu_uj, e->cpu_uj, RELAXED);
    atomic_fetch_add_explicit(&m->dram_uj, e->dram_uj, RELAXED);
    atomic_fetch_add_explicit(&m->gpu_uj, e->gpu_uj, RELAXED);
    atomic_fetch_add_explicit(&m->operational_ng, (uint64_t)(spent->carbon.operational_g * 1e9),
                              RELAXED);
    atomic_fetch_add_explicit(&m->embodied_ng, (uint64_t)(spent->carbon.embodied_g * 1e9), RELAXED);
}

static void head(vd_buf *out, const char *name, const char *type, const char *help)
{
    vd_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void one(vd_buf *out, const char *name, const char *type, const char *help, double value)
{
    head(out, name, type, help);
    vd_buf_printf(out, "%s %.15g\n", name, value);
}

#define COUNTER(name, help, value) one(out, name, "counter", help, (double)(value))
#define GAUGE(name, help, value) one(out, name, "gauge", help, (double)(value))

static void histogram(vd_buf *out, const char *name, const char *help, const vd_histogram *h)
{
    uint64_t n = 0;
    head(out, name, "histogram", help);
    for (size_t i = 0; i < VD_N_BUCKETS; i++) {
        n += atomic_load_explicit(&h->bucket[i], RELAXED);
        vd_buf_printf(out, "%s_bucket{le=\"%g\"} %llu\n", name, (double)bounds_ns[i] / 1e9,
                      (unsigned long long)n);
    }
    n += atomic_load_explicit(&h->bucket[VD_N_BUCKETS], RELAXED);
    vd_buf_printf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.9g\n%s_count %llu\n", name,
                  (unsigned long long)n, name,
                  (double)atomic_load_explicit(&h->sum_ns, RELAXED) / 1e9, name,
                  (unsigned long long)n);
}

static void write_requests(vd_metrics *m, vd_buf *out)
{
    head(out, "verdant_http_requests_total", "counter",
         "Requests ended, by route and status; status 0 was never answered.");
    for (unsigned route = 0; vd_route_at(route) != NULL; route++)
        for (unsigned i = 0; i < VD_COUNT(statuses); i++) {
            uint64_t n = atomic_load_explicit(&m->requests[route][i], RELAXED);
            if (n != 0)
                vd_buf_printf(out, "verdant_http_requests_total{route=\"%s\",status=\"%u\"} %llu\n",
                              vd_route_at(route)->label, statuses[i], (unsigned long long)n);
        }
    histogram(out, "verdant_http_request_duration_seconds",
              "From the request line to the last byte of the answer.", &m->duration);
}

/* A Prometheus label value: the JSON escapes of quote, backslash and newline are the same. */
static void put_model(vd_buf *out, const char *metric, const char *model, double value)
{
    vd_buf_printf(out, "%s{model=", metric);
    vd_jout_string(out, model, strlen(model));
    vd_buf_printf(out, "} %.15g\n", value);
}

enum { ENGINE_COLUMNS = 10 };

static void write_engines(vd_server *server, vd_buf *out)
{
    static const struct {
        const char *name, *type, *help;
    } columns[ENGINE_COLUMNS] = {
        {"verdant_requests_running", "gauge", "Sequences being computed."},
        {"verdant_requests_waiting", "gauge", "Sequences waiting for their turn."},
        {"verdant_kv_tokens_used", "gauge", "Positions of the KV cache in use."},
        {"verdant_kv_tokens_capacity", "gauge", "Positions of the KV cache."},
        {"verdant_engine_steps_total", "counter", "Forward passes."},
        {"verdant_engine_prefill_tokens_total", "counter", "Prompt tokens computed."},
        {"verdant_engine_decode_tokens_total", "counter", "Answer tokens computed."},
        {"verdant_engine_cached_tokens_total", "counter", "Prompt tokens found in the cache."},
        {"verdant_engine_draft_tokens_total", "counter", "Guessed answer tokens computed."},
        {"verdant_engine_draft_taken_total", "counter", "Those of them that were right."},
    };
    for (size_t column = 0; column < ENGINE_COLUMNS; column++) {
        head(out, columns[column].name, columns[column].type, columns[column].help);
        for (size_t i = 0; i < server->n_models; i++) {
            const vd_backend *b = &server->models[i].backend;
            vd_engine_stats stats = b->ops->stats(b->self);
            const double values[ENGINE_COLUMNS] = {
                (double)stats.n_running,       (double)stats.n_waiting,
                (double)stats.kv_tokens_used,  (double)b->ops->info(b->self).kv_tokens,
                (double)stats.n_steps,         (double)stats.n_prefill_tokens,
                (double)stats.n_decode_tokens, (double)stats.n_cached_tokens,
                (double)stats.n_draft_tokens,  (double)stats.n_draft_taken};
            put_model(out, columns[column].name, server->models[i].name, values[column]);
        }
    }
}

static void labelled(vd_buf *out, const char *metric, const char *label, const char *value,
                     double number)
{
    vd_buf_printf(out, "%s{%s=\"%s\"} %.15g\n", metric, label, value, number);
}

static void write_account(vd_account *account, vd_buf *out)
{
    vd_account_totals t;
    vd_account_totals_get(account, &t);
    COUNTER("verdant_meter_joules_total",
            "Energy that the meter, or the model of the machine, read.", (double)t.meter_uj / 1e6);
    head(out, "verdant_account_joules_total", "counter",
         "The same by where it was booked: the three add up to the meter.");
    const struct {
        const char *booked;
        uint64_t uj;
    } parts[] = {
        {"requests", t.requests_uj}, {"idle", t.idle_uj}, {"unattributed", t.unattributed_uj}};
    for (size_t i = 0; i < VD_COUNT(parts); i++)
        labelled(out, "verdant_account_joules_total", "booked", parts[i].booked,
                 (double)parts[i].uj / 1e6);
    GAUGE("verdant_requests_unsettled",
          "Requests that ended and whose window of a slow meter is still open.", t.n_departed);
    COUNTER("verdant_meter_gaps_total", "Windows in which the meter missed something.", t.n_gaps);
    head(out, "verdant_meter_info", "gauge", "Always 1; the label says how energy is measured.");
    labelled(out, "verdant_meter_info", "method", t.method, 1);
}

/* What a step of each model is made of: F, a_p, a_d, a_kv of docs/energy.md. */
static void write_costs(vd_server *server, vd_buf *out)
{
    static const char seconds[] = "verdant_step_cost_seconds";
    static const char joules[] = "verdant_step_cost_joules";
    for (int metered = 0; metered < 2; metered++) {
        head(out, metered ? joules : seconds, "gauge",
             metered ? "The same times the active power of the last steps."
                     : "Machine time of a step, and of each prompt token, answer token and "
                       "position read in it.");
        for (size_t i = 0; i < server->n_models; i++) {
            vd_step_cost cost = vd_account_cost(server->options.account, (uint32_t)i);
            const struct {
                const char *term;
                double ns;
            } terms[] = {{"step", cost.fixed_ns},
                         {"prefill_token", cost.prefill_ns},
                         {"decode_token", cost.decode_ns},
                         {"kv_read", cost.kv_read_ns}};
            if (cost.n_steps == 0 || (metered && cost.active_w == 0))
                continue;
            for (size_t k = 0; k < VD_COUNT(terms); k++) {
                vd_buf_printf(out, "%s{model=", metered ? joules : seconds);
                vd_jout_string(out, server->models[i].name, strlen(server->models[i].name));
                vd_buf_printf(out, ",term=\"%s\"} %.6g\n", terms[k].term,
                              terms[k].ns * 1e-9 * (metered ? cost.active_w : 1));
            }
        }
    }
}

static void write_phases(vd_server *server, vd_buf *out)
{
    static const char *const names[VD_N_PHASES] = {"prefill", "decode", "idle_share"};
    head(out, "verdant_request_joules_total", "counter",
         "Energy of ended requests, as they were told, by model and phase.");
    for (size_t i = 0; i < server->n_models; i++)
        for (size_t k = 0; k < VD_N_PHASES; k++) {
            const char *model = server->models[i].name;
            vd_buf_puts(out, "verdant_request_joules_total{model=");
            vd_jout_string(out, model, strlen(model));
            vd_buf_printf(out, ",phase=\"%s\"} %.15g\n", names[k],
                          (double)atomic_load_explicit(&server->metrics.phase_uj[i][k], RELAXED) /
                              1e6);
        }
}

static void write_ledger(vd_ledger *ledger, vd_buf *out)
{
    vd_ledger_stats s;
    vd_ledger_stats_get(ledger, &s);
    GAUGE("verdant_ledger_lag_seconds", "Age of the oldest thing that the ledger has not written.",
          (double)s.lag_ns / 1e9);
    COUNTER("verdant_ledger_writes_total", "Transactions of the ledger that went well.",
            s.n_flushes);
    COUNTER("verdant_ledger_failures_total", "Transactions of the ledger that failed; tried again.",
            s.n_failures);
    COUNTER("verdant_ledger_given_up_joules_total",
            "Energy of requests that is booked, but not on whose account it was.",
            (double)s.folded_uj / 1e6);
}

static void write_energy(vd_server *server, vd_buf *out)
{
    vd_metrics *m = &server->metrics;
    const struct {
        const char *component;
        atomic_uint_fast64_t *uj;
    } parts[VD_PART_N] = {{"cpu", &m->cpu_uj}, {"dram", &m->dram_uj}, {"gpu", &m->gpu_uj}};
    vd_account_totals t = {0};
    if (server->options.account != NULL)
        vd_account_totals_get(server->options.account, &t);
    head(out, "verdant_energy_joules_total", "counter",
         "Energy attributed to ended requests whose window is settled, by component.");
    for (size_t i = 0; i < VD_PART_N; i++)
        labelled(out, "verdant_energy_joules_total", "component", parts[i].component,
                 (double)(server->options.account != NULL
                              ? t.left_uj[i] : atomic_load_explicit(parts[i].uj, RELAXED)) / 1e6);
    head(out, "verdant_carbon_grams_total", "counter",
         "Grams of CO2 equivalent attributed to ended requests.");
    labelled(out, "verdant_carbon_grams_total", "kind", "operational",
             (double)atomic_load_explicit(&m->operational_ng, RELAXED) / 1e9);
    labelled(out, "verdant_carbon_grams_total", "kind", "embodied",
             (double)atomic_load_explicit(&m->embodied_ng, RELAXED) / 1e9);
    if (server->options.feed != NULL)
        vd_carbon_metrics(server->options.feed, out);
    if (server->options.account != NULL) {
        write_account(server->options.account, out);
        write_costs(server, out);
    }
    write_phases(server, out);
    if (vd_books_ledger(server->options.books) != NULL)
        write_ledger(vd_books_ledger(server->options.books), out);
}

static double resident_bytes(void)
{
    unsigned long total, resident;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL)
        return 0;
    int n = fscanf(file, "%lu %lu", &total, &resident);
    fclose(file);
    return n == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

static double open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    double n = -3; /* ".", ".." and the one just opened */
    if (dir == NULL)
        return 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    return n;
}

static void write_process(vd_metrics *m, vd_buf *out)
{
    struct rusage usage;
    GAUGE("process_resident_memory_bytes", "Resident memory.", resident_bytes());
    GAUGE("process_open_fds", "Open file descriptors.", open_fds());
    GAUGE("process_start_time_seconds", "Start, Unix time.",
          atomic_load_explicit(&m->begin_s, RELAXED));
    if (getrusage(RUSAGE_SELF, &usage) == 0)
        COUNTER("process_cpu_seconds_total", "User and system CPU time.",
                (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
    head(out, "verdant_build_info", "gauge", "Always 1; the label says the version.");
    vd_buf_printf(out, "verdant_build_info{version=\"%s\"} 1\n", vd_version());
}

void vd_metrics_write(vd_server *server, vd_buf *out)
{
    static const char *const ends[] = {"", "stop", "length", "cancelled", "error"};
    vd_metrics *m = &server->metrics;
    vd_gate_stats gate = vd_gate_stats_get(server->gate);
    write_requests(m, out);
    GAUGE("verdant_http_requests_active", "Requests for answers that are not finished.",
          atomic_load(&server->n_running));
    GAUGE("verdant_http_connections", "Open connections.", gate.n_open);
    COUNTER("verdant_http_connections_accepted_total", "Connections accepted.", gate.n_accepted);
    COUNTER("verdant_http_connections_refused_total", "Connections answered 503 at the door.",
            gate.n_refused);
    COUNTER("verdant_http_bad_heads_total", "First requests refused before they were parsed.",
            gate.n_bad_heads);
    COUNTER("verdant_http_late_requests_total", "Requests that did not arrive in time (408).",
            gate.n_late);
    GAUGE("verdant_http_bodies_bytes", "Memory held for request bodies.",
          atomic_load(&server->bodies_bytes));
    COUNTER("verdant_clients_left_total", "Clients that left before their answer was finished.",
            atomic_load_explicit(&m->left_clients, RELAXED));
    COUNTER("verdant_slow_readers_total", "Streams cut because the client read too slowly.",
            atomic_load_explicit(&m->slow_readers, RELAXED));
    COUNTER("verdant_prompt_tokens_total", "Prompt tokens of ended sequences.",
            atomic_load_explicit(&m->prompt_tokens, RELAXED));
    COUNTER("verdant_cached_tokens_total", "Prompt tokens that came from the cache.",
            atomic_load_explicit(&m->cached_tokens, RELAXED));
    COUNTER("verdant_completion_tokens_total", "Answer tokens of ended sequences.",
            atomic_load_explicit(&m->completion_tokens, RELAXED));
    head(out, "verdant_sequences_finished_total", "counter", "Ended sequences, by how.");
    for (size_t i = 1; i < VD_COUNT(ends); i++)
        vd_buf_printf(out, "verdant_sequences_finished_total{end=\"%s\"} %llu\n", ends[i],
                      (unsigned long long)atomic_load_explicit(&m->finished[i], RELAXED));
    histogram(out, "verdant_engine_step_duration_seconds", "One forward pass.", &m->step);
    write_engines(server, out);
    write_energy(server, out);
    write_process(m, out);
}

vd_status vd_metrics_show(vd_exchange *request, const char *argument, vd_buf *out,
                          vd_api_error *error)
{
    vd_metrics_write(request->server, out);
    return VD_OK;
}
