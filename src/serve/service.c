/* service.c - see service.h. */
#include "serve/service.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/log.h"
#include "serve/books.h"
#include "serve/model_backend.h"

#define S 1000000000ull

enum {
    /* The engine's own defaults; the first two are said here because the account has to hold them
     * all, the third so that the configuration can be compared with it. */
    RUNNING_DEFAULT = 32,
    WAITING_DEFAULT = 1024,
    STEP_DEFAULT = 512,
    ID_BITS = 48 /* of a request id; the model's number stands above */
};
static const uint64_t idle_ns = S / 2, calibrate_ns = S / 2, drain_default_ns = 30 * S;

struct vd_service {
    vd_service_options options;
    vd_meter *meter;
    vd_account *account;
    vd_feed *feed;
    vd_books *books;
    vd_server *server;
    vd_model_backend *models[VD_MODELS_MAX];
};

/* ---- signals ---------------------------------------------------------------------------------*/

static atomic_bool hurry;

static void on_second_signal(int number)
{
    atomic_store(&hurry, true);
}

static sigset_t stop_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

void vd_service_block_signals(void)
{
    sigset_t set = stop_signals();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Waits at most so long for SIGTERM or SIGINT; false when none came. */
static bool signal_comes(uint64_t wait_ns)
{
    sigset_t set = stop_signals();
    const struct timespec wait = {.tv_sec = (time_t)(wait_ns / S), .tv_nsec = (long)(wait_ns % S)};
    int number = sigtimedwait(&set, NULL, &wait);
    if (number > 0)
        vd_log(VD_LOG_INFO, "serve", "stopping signal=%s", number == SIGINT ? "INT" : "TERM");
    return number > 0;
}

/* ---- opening ---------------------------------------------------------------------------------*/

void vd_service_options_fill(vd_service_options *o)
{
    vd_server_options_fill(&o->server);
    if (o->drain_ns == 0)
        o->drain_ns = drain_default_ns;
    for (size_t i = 0; i < o->n_models; i++) {
        vd_engine_options *e = &o->models[i].engine;
        e->max_running = e->max_running != 0 ? e->max_running : RUNNING_DEFAULT;
        e->max_waiting = e->max_waiting != 0 ? e->max_waiting : WAITING_DEFAULT;
        e->step_tokens = e->step_tokens != 0 ? e->step_tokens : STEP_DEFAULT;
    }
}

static size_t most_residents(const vd_service_options *o)
{
    size_t n = 0;
    for (size_t i = 0; i < o->n_models; i++)
        n += o->models[i].engine.max_running + o->models[i].engine.max_waiting;
    return n;
}

static void log_meter(const vd_meter_info *info)
{
    if (info->calibration[0] != '\0')
        vd_log(info->calibrated ? VD_LOG_INFO : VD_LOG_WARN, "energy", "%s",
               info->calibration);
    if (info->why == VD_OK)
        vd_log(VD_LOG_INFO, "energy", "meter method=%s uncertainty_pct=%.3g", info->method,
               info->uncertainty_pct);
    else
        vd_log(VD_LOG_WARN, "energy", "no meter, a model of the machine stands in method=%s "
               "uncertainty_pct=%.3g why=\"%s\" hint=\"verdant doctor\"", info->method,
               info->uncertainty_pct, info->why_text);
}

/* ---- carbon ----------------------------------------------------------------------------------*/

/* Under the account's lock: from the feed's memory. */
static double intensity_at(void *ctx, uint64_t at_ns)
{
    vd_service *s = ctx;
    return vd_feed_at(s->feed, at_ns).g_per_kwh;
}

/* Under the account's lock, too. */
static void on_window(void *ctx, const vd_window *window)
{
    vd_service *s = ctx;
    vd_intensity intensity = vd_feed_at(s->feed, window->end_ns);
    vd_books_window(s->books, window, &intensity);
}

static void on_settled(void *ctx, uint64_t request_id, const vd_energy *energy)
{
    vd_service *s = ctx;
    vd_books_settled(s->books, request_id, energy);
}

static vd_status open_books(vd_service *s, vd_err *err)
{
    vd_meter_info meter;
    char *path = NULL;
    vd_status st = VD_OK;
    if (!s->options.no_ledger && s->options.ledger == NULL)
        st = vd_books_path(&path, err);
    const char *ledger = s->options.ledger != NULL ? s->options.ledger : path;
    if (ledger == NULL || s->options.no_ledger)
        return st;
    vd_meter_info_get(s->meter, &meter);
    st = vd_books_open(&(vd_books_options){.path = ledger,
                                           .method = meter.method,
                                           .keys = s->options.keys,
                                           .no_receipts = s->options.no_receipts,
                                           .pue = s->options.site.pue},
                       &s->books, err);
    vd_free(path);
    if (st != VD_OK)
        vd_err_prefix(err, "the energy ledger");
    return st;
}

static void log_feed(void *ctx, const vd_feed_state *state)
{
    if (state->failing)
        vd_log(VD_LOG_WARN, "carbon", "no intensity, the last known one stays provider=%s "
               "why=\"%s\"", state->provider, state->why);
    else
        vd_log(VD_LOG_INFO, "carbon", "intensities come provider=%s", state->provider);
}

static vd_status open_feed(vd_service *s, vd_err *err)
{
    const vd_provider_options *o = &s->options.carbon;
    vd_feed_options options = {.zone = s->options.zone,
                               .period_s = s->options.carbon_period_s,
                               .on_change = log_feed,
                               .ctx = s};
    vd_provider_options asked = *o;
    bool table = o->name == NULL || strcmp(o->name, "table") == 0;
    if (table && s->options.zone != NULL)
        asked.zone = s->options.zone->code;
    vd_status st = vd_provider_open(&asked, &options.provider, err);
    if (st == VD_OK && table) { /* its words were looked at; the feed knows the table itself */
        vd_provider_close(options.provider);
        options.provider = NULL;
    }
    if (options.provider != NULL)
        vd_log(VD_LOG_INFO, "carbon", "intensities asked for provider=%s zone=%s",
               vd_provider_name(options.provider), vd_provider_zone(options.provider));
    if (st != VD_OK) {
        vd_err_prefix(err, "the carbon provider");
        return st;
    }
    return vd_feed_open(&options, &s->feed, err);
}

/* What is not configured. */
static void guess_hardware(vd_service *s, const vd_machine *machine)
{
    vd_hardware_facts facts = s->options.parts;
    vd_hardware *h = &s->options.hardware;
    facts.cpu = machine->cpu;
    facts.virtual_machine = machine->virtual_machine;
    facts.n_cpu = machine->n_cpu;
    facts.memory_bytes = machine->memory_bytes;
    facts.reserved_share = h->reserved_share;
    vd_hardware guess = vd_hardware_guess(&facts);
    h->server_kg = h->server_kg != 0 ? h->server_kg : guess.server_kg;
    h->life_years = h->life_years != 0 ? h->life_years : guess.life_years;
    h->reserved_share = h->reserved_share != 0 ? h->reserved_share : guess.reserved_share;
    vd_log(VD_LOG_INFO, "carbon", "embodied server_kg=%.0f life_years=%g reserved_share=%.4g",
           h->server_kg, h->life_years, h->reserved_share);
}

static vd_status open_account(vd_service *s, vd_err *err)
{
    const vd_account_options options = {.max_residents = most_residents(&s->options),
                                        .observer = {.on_window = on_window,
                                                     .on_settled = on_settled,
                                                     .g_per_kwh = intensity_at,
                                                     .ctx = s}};
    vd_status st = vd_account_create(s->meter, &options, &s->account, err);
    if (st == VD_ERR_ARG)
        vd_err_prefix(err, "max_running and max_waiting of all models, added up");
    return st;
}

vd_status vd_service_open(const vd_service_options *options, vd_service **ret_service, vd_err *err)
{
    vd_service *s = NULL;
    vd_status st = vd_alloc_array(1, sizeof(*s), "the service", &s, err);
    if (st != VD_OK)
        return st;
    s->options = *options;
    vd_service_options_fill(&s->options);
    st = open_feed(s, err);
    if (st == VD_OK)
        st = vd_meter_open(&(vd_meter_options){.spec = s->options.meter}, &s->meter, err);
    if (st == VD_OK)
        st = open_books(s, err);
    if (st == VD_OK)
        st = open_account(s, err);
    if (st != VD_OK)
        goto out;
    s->options.server.account = s->account;
    s->options.server.feed = s->feed;
    s->options.server.books = s->books;
    st = vd_server_create(&s->options.server, &s->server, err);
    if (st != VD_OK)
        goto out;
    *ret_service = s;
    s = NULL;
out:
    vd_service_close(s);
    return st;
}

static void log_cost(vd_service *s, const char *name, uint32_t number)
{
    vd_step_cost cost = vd_account_cost(s->account, number);
    if (cost.n_steps != 0)
        vd_log(VD_LOG_INFO, "energy",
               "calibrated name=%s steps=%" PRIu64 " fixed_us=%.0f prefill_us=%.1f decode_us=%.1f "
               "kv_read_ns=%.2f",
               name, cost.n_steps, cost.fixed_ns * 1e-3, cost.prefill_ns * 1e-3,
               cost.decode_ns * 1e-3, cost.kv_read_ns);
}

static vd_status load_model(vd_service *s, size_t i, vd_err *err)
{
    const vd_service_model *m = &s->options.models[i];
    uint64_t begin_ns = vd_now_ns();
    vd_model_backend_options options = {
        .path = m->path,
        .engine = m->engine,
        .first_id = ((uint64_t)i << ID_BITS) + 1,
        .number = (uint32_t)i,
        .calibrate_ns = s->options.no_calibration ? 0 : calibrate_ns,
        .account = s->account,
        .feed = s->feed,
        .site = s->options.site,
        .hardware = s->options.hardware,
        .steps = &s->server->metrics.step,
    };
    vd_status st = vd_model_backend_open(&options, &s->models[i], err);
    if (st != VD_OK)
        return st;
    log_cost(s, m->name, (uint32_t)i);
    vd_backend face = vd_model_backend_face(s->models[i]);
    vd_engine_info info = vd_model_backend_info(s->models[i]);
    vd_log(VD_LOG_INFO, "serve",
           "model loaded name=%s arch=%s kernels=%s threads=%zu ctx_tokens=%zu kv_tokens=%zu "
           "weight_mib=%zu kv_mib=%zu ms=%" PRIu64,
           m->name, info.architecture, info.kernels, info.n_threads, info.ctx_tokens,
           info.kv_tokens, (info.weight_bytes + info.draft_weight_bytes) >> 20,
           (info.kv_bytes + info.draft_kv_bytes) >> 20, (vd_now_ns() - begin_ns) / 1000000);
    return vd_server_add_model(s->server, m->name, &face, err);
}

vd_status vd_service_load(vd_service *s, vd_err *err)
{
    vd_meter_info meter;
    vd_meter_info_get(s->meter, &meter);
    log_meter(&meter);
    guess_hardware(s, &meter.machine);
    for (size_t i = 0; i < s->options.n_models; i++) {
        vd_status st = load_model(s, i, err);
        if (st != VD_OK)
            return st;
        if (signal_comes(0))
            return VD_FAIL(err, VD_ERR_CANCELLED, "stopped while the models were loaded");
    }
    vd_account_measure_idle(s->account, idle_ns);
    vd_server_ready(s->server);
    vd_log(VD_LOG_INFO, "serve", "ready models=%zu", s->options.n_models);
    return VD_OK;
}

void vd_service_run(vd_service *s)
{
    while (!signal_comes(S)) {
        vd_account_tick(s->account);
        vd_books_tick(s->books);
    }
}

void vd_service_close(vd_service *s)
{
    if (s == NULL)
        return;
    if (s->server != NULL) {
        sigset_t set = stop_signals();
        struct sigaction action = {.sa_handler = on_second_signal};
        sigaction(SIGTERM, &action, NULL);
        sigaction(SIGINT, &action, NULL);
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        vd_server_stop(s->server, s->options.drain_ns, &hurry);
    }
    vd_server_free(s->server); /* no request is alive any more */
    for (size_t i = 0; i < VD_MODELS_MAX; i++)
        vd_model_backend_close(s->models[i]);
    vd_account_free(s->account); /* settles the last window */
    vd_books_close(s->books);
    vd_feed_close(s->feed);
    vd_meter_close(s->meter);
    vd_free(s);
}

uint16_t vd_service_port(const vd_service *s)
{
    return vd_server_port(s->server);
}
