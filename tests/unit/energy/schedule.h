/*
 * schedule.h - a random life of a server, for tests of laws: three engines that step at the same
 * time or alone, announced or not, requests that join, wait, compute, leave and are cancelled in
 * the middle of a step, twins that do the same, strangers, quiet times, ticks, and a meter whose
 * zones jump, vanish and come back. Deterministic by seed; what is shuffled or renamed is drawn
 * apart, so that two runs of one seed live the same life.
 */
#ifndef TESTS_ENERGY_SCHEDULE_H
#define TESTS_ENERGY_SCHEDULE_H

#include "books.h"

enum { ENGINES = 3, LIVING_MAX = 40, SHARES_MAX = LIVING_MAX + 1, STRANGER = BOOKS_IDS + 7 };

/* What makes this run differ from another of the same seed. */
typedef struct schedule_options {
    uint64_t seed;
    uint64_t refresh_ns; /* of the account's meter; 0: fast */
    bool faults;         /* the meter fails now and then */
    bool alone;          /* one engine, never announced */
    bool shuffled;       /* shares of a step stand in another order */
    uint64_t renamed;    /* odd: ids are multiplied by it; 0: they are not */
    uint64_t factor;     /* of the meter; 0: 1 */
    size_t max_residents;
} schedule_options;

typedef struct living {
    uint64_t id, twin; /* twin: another's id, or 0 */
    uint32_t engine, prompt_left, position;
} living;

typedef struct running_step {
    bool active, announced;
    uint64_t begin_ns, end_ns;
    vd_step_share share[SHARES_MAX];
    size_t n;
} running_step;

typedef struct schedule {
    schedule_options options;
    fake_tree tree;
    vd_meter *meter;
    vd_account *account;
    books *books;
    uint64_t state, shuffle_state; /* of the two generators */
    uint64_t package_uj, dram_uj, watts, away_until_ns;
    int counter[2];   /* the zones' files, or -1: to be opened */
    int n_digits[2];
    double fixed_ns[ENGINES], prefill_ns[ENGINES], decode_ns[ENGINES];
    running_step step[ENGINES];
    living living[LIVING_MAX];
    size_t n_living, n_steps, n_overlaps, n_cancelled_inside, n_faults;
    uint64_t next_id;
    bool stepped[BOOKS_IDS]; /* computed something */
    uint64_t twin_of[BOOKS_IDS];
    uint64_t said_uj[BOOKS_IDS]; /* what leave returned, settled or not */
    uint64_t n_said_settled;
} schedule;

static inline uint64_t draw_from(uint64_t *state, uint64_t below)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state % below;
}

static inline uint64_t pick(schedule *s, uint64_t below)
{
    return draw_from(&s->state, below);
}

static inline uint64_t name_of(const schedule *s, uint64_t id)
{
    return s->options.renamed == 0 || id >= BOOKS_IDS ? id : id * s->options.renamed % BOOKS_IDS;
}

static inline void schedule_open(schedule *s, const schedule_options *options)
{
    memset(s, 0, sizeof(*s));
    s->options = *options;
    s->state = options->seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    s->shuffle_state = s->state ^ 0x5555;
    s->options.factor += s->options.factor == 0;
    s->next_id = 1;
    s->watts = 30;
    s->counter[0] = s->counter[1] = -1;
    s->books = calloc(1, sizeof(*s->books));
    s->books->g_per_kwh = 400;
    tree_make(&s->tree);
    zone_add(&s->tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&s->tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    s->meter = tree_meter(&s->tree);
    for (size_t i = 0; i < ENGINES; i++) {
        s->fixed_ns[i] = 1e6 + (double)pick(s, 30000000);
        s->prefill_ns[i] = 1e4 + (double)pick(s, 300000);
        s->decode_ns[i] = 1e5 + (double)pick(s, 2000000);
    }
    const vd_account_options account = {.max_residents = options->max_residents,
                                        .refresh_ns = options->refresh_ns,
                                        .observer = books_observer(s->books)};
    assert_int_equal(vd_account_create(s->meter, &account, &s->account, NULL), VD_OK);
}

/* As zone_set, but in a file that stays open: there are very many. */
static inline void show_counter(schedule *s, int i, uint64_t uj)
{
    static const char *const zones[] = {"intel-rapl:0", "intel-rapl:0:0"};
    char text[32], path[512];
    int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", uj);
    if (s->counter[i] < 0) {
        zone_set(&s->tree, zones[i], uj);
        snprintf(path, sizeof(path), "%s/class/powercap/%s/energy_uj", s->tree.root, zones[i]);
        s->counter[i] = open(path, O_WRONLY | O_CLOEXEC);
    }
    assert_int_equal(pwrite(s->counter[i], text, (size_t)n, 0), n);
    if (n < s->n_digits[i])
        assert_int_equal(ftruncate(s->counter[i], n), 0);
    s->n_digits[i] = n;
}

static inline void show_counters(schedule *s)
{
    if (s->away_until_ns == 0 || s->tree.now_ns >= s->away_until_ns) {
        s->away_until_ns = 0;
        show_counter(s, 0, s->package_uj % PACKAGE_RANGE);
    }
    show_counter(s, 1, s->dram_uj % DRAM_RANGE);
}

static inline void let_pass(schedule *s, uint64_t ns)
{
    s->tree.now_ns += ns;
    s->package_uj += s->options.factor * (ns / 1000 * s->watts);
    s->dram_uj += s->options.factor * (ns / 1000 * 3);
    show_counters(s);
}

/* Quiet seconds first, so that the idle power is known and everything is linear in the meter. */
static inline void schedule_warm(schedule *s)
{
    for (int i = 0; i < 6; i++) {
        s->watts = 10;
        let_pass(s, SECOND + SECOND / 10 + 10 * s->options.refresh_ns);
        vd_account_tick(s->account);
    }
}

static inline void fault(schedule *s)
{
    s->n_faults++;
    if (pick(s, 2) == 0) { /* a counter that starts anew */
        s->package_uj = pick(s, 100);
        show_counters(s);
    } else if (s->away_until_ns == 0) {
        zone_delete(&s->tree, "intel-rapl:0");
        close(s->counter[0]);
        s->counter[0] = -1;
        s->away_until_ns = s->tree.now_ns + pick(s, pick(s, 8) == 0 ? 60 * SECOND : 3 * SECOND);
    }
}

static inline void come(schedule *s)
{
    bool twins = pick(s, 3) == 0;
    if (s->n_living + 2 > LIVING_MAX || s->next_id + 2 >= BOOKS_IDS)
        return;
    living l = {.engine = s->options.alone ? 0 : (uint32_t)pick(s, ENGINES),
                .prompt_left = 1 + (uint32_t)pick(s, 500)};
    for (int i = 0; i < 1 + twins; i++) {
        l.id = s->next_id + (uint64_t)i;
        l.twin = twins ? s->next_id + 1 - (uint64_t)i : 0;
        s->twin_of[l.id] = l.twin;
        s->living[s->n_living++] = l;
        assert_int_equal(vd_account_join(s->account, name_of(s, l.id), NULL), VD_OK);
    }
    s->next_id += 1 + twins;
}

static inline void go(schedule *s, size_t k)
{
    uint64_t id = s->living[k].id, twin = s->living[k].twin;
    const running_step *r = &s->step[s->living[k].engine];
    for (size_t i = 0; r->active && i < r->n; i++)
        s->n_cancelled_inside += r->share[i].request_id == name_of(s, id);
    vd_energy e = {0};
    assert_int_equal(vd_account_leave(s->account, name_of(s, id), &e, NULL), VD_OK);
    assert_true(e.prefill_uj + e.decode_uj == e.active_uj);
    assert_true(e.active_uj + e.idle_share_uj == e.total_uj);
    assert_true(e.cpu_uj + e.dram_uj + e.gpu_uj == e.total_uj);
    assert_true(e.settled == (s->options.refresh_ns == 0));
    assert_true(e.uncertainty_pct >= e.common_pct && e.uncertainty_pct >= e.independent_pct);
    assert_true(!e.settled || s->books->settled_uj[name_of(s, id)] == e.total_uj);
    s->said_uj[id] = e.total_uj;
    s->n_said_settled += e.settled;
    s->living[k] = s->living[--s->n_living];
    for (size_t i = 0; twin != 0 && i < s->n_living; i++)
        if (s->living[i].id == twin) {
            s->living[i].twin = 0; /* goes now; no third one */
            go(s, i);
            return;
        }
}

/* Twins stand in a step together or not at all: whether one is in is drawn by the smaller id. */
static inline void begin_step(schedule *s, uint32_t engine)
{
    running_step *r = &s->step[engine];
    double ns = s->fixed_ns[engine];
    uint64_t dice = pick(s, 1u << 30) | 1;
    r->n = 0;
    for (size_t k = 0; k < s->n_living; k++) {
        living *l = &s->living[k];
        uint64_t first = s->twin_of[l->id] != 0 && s->twin_of[l->id] < l->id ? s->twin_of[l->id]
                                                                            : l->id;
        uint64_t mine = dice ^ first * UINT64_C(0xbf58476d1ce4e5b9);
        if (l->engine != engine || draw_from(&mine, 4) == 0)
            continue; /* waits */
        uint32_t m = l->prompt_left < 128 ? l->prompt_left : 128;
        uint32_t rejected = m == 0 ? (uint32_t)draw_from(&mine, 3) : 0;
        r->share[r->n++] = (vd_step_share){.request_id = name_of(s, l->id),
                                           .n_prefill = m,
                                           .n_decode = m == 0,
                                           .n_kv_read = (uint64_t)l->position * (m ? m : 1),
                                           .n_rejected = rejected};
        ns += s->prefill_ns[engine] * m + s->decode_ns[engine] * ((m == 0) + rejected);
        l->prompt_left -= m;
        l->position += m ? m : 1;
        s->stepped[l->id] = true;
    }
    if (pick(s, 20) == 0)
        r->share[r->n++] = (vd_step_share){.request_id = STRANGER, .n_prefill = 3, .n_decode = 1};
    for (size_t i = r->n; s->options.shuffled && i > 1; i--) {
        size_t k = draw_from(&s->shuffle_state, i);
        vd_step_share t = r->share[i - 1];
        r->share[i - 1] = r->share[k];
        r->share[k] = t;
    }
    ns *= 0.9 + 0.2 * (double)pick(s, 1000) / 1000;
    r->active = true;
    r->announced = !s->options.alone && pick(s, 5) != 0;
    r->begin_ns = s->tree.now_ns;
    r->end_ns = r->begin_ns + (uint64_t)ns;
    vd_step step = {.begin_ns = r->begin_ns, .share = r->share, .n_share = r->n, .model = engine};
    if (r->announced)
        vd_account_step_begin(s->account, &step);
    s->n_overlaps += (size_t)(s->step[0].active + s->step[1].active + s->step[2].active > 1);
}

static inline void end_step(schedule *s, uint32_t engine)
{
    running_step *r = &s->step[engine];
    if (s->tree.now_ns < r->end_ns)
        let_pass(s, r->end_ns - s->tree.now_ns);
    vd_step step = {.begin_ns = r->begin_ns, .end_ns = s->tree.now_ns, .share = r->share,
                    .n_share = r->n, .model = engine};
    vd_account_step(s->account, &step);
    r->active = false;
    s->n_steps++;
}

/* The running step that ends first, or -1. */
static inline int next_end(const schedule *s)
{
    int first = -1;
    for (int i = 0; i < ENGINES; i++)
        if (s->step[i].active && (first < 0 || s->step[i].end_ns < s->step[first].end_ns))
            first = i;
    return first;
}

static inline void one_event(schedule *s)
{
    uint64_t what = pick(s, 100);
    uint32_t engine = s->options.alone ? 0 : (uint32_t)pick(s, ENGINES);
    int ends = next_end(s);
    if (pick(s, 10) == 0)
        s->watts = 10 + pick(s, 150);
    if (what < 8)
        come(s);
    else if (what < 13 && s->n_living > 0)
        go(s, pick(s, s->n_living));
    else if (what < 16)
        vd_account_tick(s->account);
    else if (what < 17)
        vd_account_flush(s->account);
    else if (what < 20)
        let_pass(s, pick(s, pick(s, 6) == 0 ? 3 * SECOND : SECOND / 20));
    else if (what < 21 && s->options.faults)
        fault(s);
    else if (!s->step[engine].active && what < 60)
        begin_step(s, engine);
    else if (ends >= 0)
        end_step(s, (uint32_t)ends);
    else
        begin_step(s, engine);
    if (pick(s, 3) == 0)
        let_pass(s, pick(s, 2000000));
}

/* Lives until n_steps steps have ended, checking the books after every event; then everybody leaves
 * and the account is freed, so that nothing is left open. */
static inline void schedule_run(schedule *s, size_t n_steps)
{
    while (s->n_steps < n_steps) {
        one_event(s);
        vd_account_totals t = books_check(s->books, s->account);
        assert_int_equal(t.n_resident, s->n_living);
    }
    for (int ends = next_end(s); ends >= 0; ends = next_end(s))
        end_step(s, (uint32_t)ends);
    while (s->n_living > 0)
        go(s, s->n_living - 1);
    vd_account_free(s->account);
    s->account = NULL;
}

static inline void schedule_close(schedule *s)
{
    for (int i = 0; i < 2; i++)
        if (s->counter[i] >= 0)
            close(s->counter[i]);
    vd_meter_close(s->meter);
    tree_remove(&s->tree);
    free(s->books);
}

#endif
