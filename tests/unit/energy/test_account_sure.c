/*
 * test_account_sure.c - is the independent part of the uncertainty an honest one? A simulated
 * machine, whose truth is known to the nanosecond, is metered by counters that are renewed now and
 * then, and computes steps whose time is not quite what any four coefficients say. What each
 * request really used, by the rules of docs/energy.md with the true coefficients and the power of
 * every single step, is held against its bill.
 */
#include "books.h"

#include <math.h>

#include "energy/account/cost.h"

enum { RUNNING_MAX = 12 };

typedef struct machine {
    fake_tree tree;
    vd_meter *meter;
    vd_account *account;
    books *books;
    int counter[2];
    uint64_t grain_ns; /* the counters' */
    double package_uj, dram_uj;
    uint64_t x;
    double true_uj[BOOKS_IDS];
    vd_energy told[BOOKS_IDS]; /* by leave */
    double noise;       /* of step times, at most */
    double other_power; /* of prompts against answers, relative */
    double bend;        /* n answers of a step cost so much of n^2 / 8 on top: no line says that */
} machine;

typedef struct request {
    uint64_t id;
    uint32_t prompt_left, answer_left, position;
} request;

static const double idle_w = 20, memory_w = 4, busy_w = 80;

static double uniform(machine *m)
{
    m->x = m->x * 6364136223846793005u + 1442695040888963407u;
    return (double)(m->x >> 11) * 0x1p-53;
}

static void show(int fd, double uj)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", (uint64_t)uj);
    assert_int_equal(pwrite(fd, text, (size_t)n, 0), n);
}

/* `watts` for so long; the counters show what they had at their last renewal. */
static void draw(machine *m, uint64_t ns, double watts)
{
    m->tree.now_ns += ns;
    m->package_uj += (double)ns * 1e-3 * watts;
    m->dram_uj += (double)ns * 1e-3 * memory_w;
    uint64_t late = m->tree.now_ns % m->grain_ns;
    if (late > ns) /* renewed before this: what is shown stands */
        return;
    show(m->counter[0], m->package_uj - (double)late * 1e-3 * watts);
    show(m->counter[1], m->dram_uj - (double)late * 1e-3 * memory_w);
}

static int open_counter(machine *m, const char *zone)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/class/powercap/%s/energy_uj", m->tree.root, zone);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void machine_open(machine *m, uint64_t refresh_ns, double noise, double other_power,
                         double bend)
{
    memset(m, 0, sizeof(*m));
    m->x = 77;
    m->noise = noise;
    m->other_power = other_power;
    m->bend = bend;
    m->grain_ns = refresh_ns != 0 ? refresh_ns : 1000000;
    m->books = calloc(1, sizeof(*m->books));
    tree_make(&m->tree);
    zone_add(&m->tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 0);
    zone_add(&m->tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 0);
    m->counter[0] = open_counter(m, "intel-rapl:0");
    m->counter[1] = open_counter(m, "intel-rapl:0:0");
    m->meter = tree_meter(&m->tree);
    const vd_account_options options = {.observer = books_observer(m->books),
                                        .refresh_ns = refresh_ns};
    assert_int_equal(vd_account_create(m->meter, &options, &m->account, NULL), VD_OK);
    for (int i = 0; i < 6; i++) {
        draw(m, SECOND + 10 * refresh_ns, idle_w);
        vd_account_tick(m->account);
    }
}

static void machine_close(machine *m)
{
    vd_account_free(m->account);
    vd_meter_close(m->meter);
    close(m->counter[0]);
    close(m->counter[1]);
    tree_remove(&m->tree);
    free(m->books);
}

/* A step as the machine really runs it; each one's true part is booked. */
static void run_step(machine *m, const vd_step_share *share, size_t n)
{
    static const vd_step_cost truth = {
        .fixed_ns = 8e6, .prefill_ns = 3e5, .decode_ns = 8e5, .kv_read_ns = 500};
    vd_step s = {.begin_ns = m->tree.now_ns, .share = share, .n_share = n};
    double whole = vd_cost_expected_ns(&truth, &s), prompts = 0, n_answers = 0;
    vd_account_step_begin(m->account, &s);
    for (size_t i = 0; i < n; i++) {
        prompts += truth.prefill_ns * share[i].n_prefill;
        n_answers += share[i].n_decode;
    }
    double extra = m->bend * truth.decode_ns / 8 * n_answers; /* of each answer: Shapley's of n^2 */
    double real = whole + extra * n_answers;
    uint64_t ns = (uint64_t)(real * (1 + m->noise * (2 * uniform(m) - 1)));
    double watts = busy_w * (1 + m->other_power * prompts / real);
    draw(m, ns, watts);
    s.end_ns = m->tree.now_ns;
    vd_account_step(m->account, &s);
    for (size_t i = 0; i < n; i++) {
        double prefill, decode;
        vd_cost_part(&truth, whole, &s, i, &prefill, &decode);
        double part = ((prefill + decode) * whole + extra * share[i].n_decode) / real;
        m->true_uj[share[i].request_id] += part * (watts - idle_w) * 1e-3 * (double)ns;
    }
}

/* Serves n requests, one to six at a time; idle energy is booked as truth by time. */
static void serve(machine *m, uint64_t n)
{
    request r[RUNNING_MAX];
    size_t n_running = 0;
    for (uint64_t next = 1; next <= n || n_running > 0;) {
        size_t wanted = 1 + (size_t)(uniform(m) * 6);
        while (n_running < wanted && next <= n) {
            r[n_running++] = (request){next, 20 + (uint32_t)(uniform(m) * 400),
                                       10 + (uint32_t)(uniform(m) * 100), 0};
            assert_int_equal(vd_account_join(m->account, next++, NULL), VD_OK);
        }
        vd_step_share share[RUNNING_MAX];
        for (size_t i = 0; i < n_running; i++) {
            uint32_t k = r[i].prompt_left < 256 ? r[i].prompt_left : 256;
            share[i] = (vd_step_share){.request_id = r[i].id, .n_prefill = k, .n_decode = k == 0,
                                       .n_kv_read = (uint64_t)(k ? k : 1) *
                                                    (r[i].position + (k ? k / 2 : 1))};
            r[i].prompt_left -= k;
            r[i].answer_left -= k == 0;
            r[i].position += k ? k : 1;
        }
        uint64_t begin_ns = m->tree.now_ns;
        run_step(m, share, n_running);
        double idle = (double)(m->tree.now_ns - begin_ns) * 1e-3 * (idle_w + memory_w);
        for (size_t i = 0; i < n_running; i++)
            m->true_uj[r[i].id] += idle / (double)n_running;
        for (size_t i = 0; i < n_running;) {
            if (r[i].answer_left != 0) {
                i++;
                continue;
            }
            assert_int_equal(vd_account_leave(m->account, r[i].id, &m->told[r[i].id], NULL), VD_OK);
            r[i] = r[--n_running];
        }
    }
    vd_account_flush(m->account);
}

typedef struct verdict {
    double covered, mean_pct, mean_error_pct;
} verdict;

/* Of exact bills against the truth, or of what was told at once against the exact bills. */
static verdict judge(const machine *m, bool told, uint64_t from, uint64_t to)
{
    verdict v = {0};
    for (uint64_t id = from; id <= to; id++) {
        const vd_energy *e = told ? &m->told[id] : &m->books->energy[id];
        double truth = told ? (double)m->books->energy[id].total_uj : m->true_uj[id];
        double error = 100 * fabs((double)e->total_uj / truth - 1);
        v.covered += error <= e->independent_pct;
        v.mean_pct += e->independent_pct;
        v.mean_error_pct += error;
    }
    double n = (double)(to - from + 1);
    return (verdict){v.covered / n, v.mean_pct / n, v.mean_error_pct / n};
}

static void the_independent_part_covers_nine_bills_in_ten(void **state)
{
    static const struct {
        const char *what;
        uint64_t refresh_ns;
        double noise, other_power, bend;
    } cases[] = {
        {"fast meter", 0, 0.05, 0, 0},
        {"fast meter, uneven steps", 0, 0.25, 0, 0},
        {"fast meter, prompts draw more", 0, 0.1, 0.2, 0},
        {"fast meter, no straight line", 0, 0.1, 0, 1},
        {"slow meter", SECOND / 10, 0.1, 0, 0},
        {"slow meter, prompts draw more", SECOND / 10, 0.1, 0.2, 0},
        {"slow meter, no straight line", SECOND / 10, 0.1, 0, 1},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static machine m;
        machine_open(&m, cases[i].refresh_ns, cases[i].noise, cases[i].other_power, cases[i].bend);
        serve(&m, 1200);
        verdict v = judge(&m, false, 101, 1200); /* the first hundred taught the coefficients */
        if (getenv("VERDANT_SHOW") != NULL)
            printf("%-32s covered %.1f %%, mean +-%.2f %%, mean error %.2f %%\n", cases[i].what,
                   100 * v.covered, v.mean_pct, v.mean_error_pct);
        assert_true(v.covered >= 0.9);
        assert_true(v.mean_pct < 10); /* and says something */
        double bills_pct = v.mean_pct;
        v = judge(&m, true, 101, 1200);
        if (getenv("VERDANT_SHOW") != NULL)
            printf("%-32s covered %.1f %%, mean +-%.2f %%, mean error %.2f %%\n",
                   "  as told at once", 100 * v.covered, v.mean_pct, v.mean_error_pct);
        assert_true(v.covered >= 0.9);
        assert_true(v.mean_pct < bills_pct + 1); /* estimates have learned how good they are */
        machine_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_independent_part_covers_nine_bills_in_ten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
