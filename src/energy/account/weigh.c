/*
 * weigh.c - steps and stays become weights. See account_state.h for the two clocks.
 *
 *   engine A   |== step ==|== step ==|== step ==|
 *   engine B        |======== step ==========|
 *   busy speed  1     1/2       1/2      1/2   1      machine time adds up to the time in which
 *                                                     something ran
 *
 * A step that was announced weighs what the busy clock says between its ends; two that run at the
 * same time share each nanosecond equally. A window that closes meanwhile takes what ran until
 * then, and the next the rest. A step that nobody announced weighs its whole length where it ends.
 */
#include "energy/account/account_state.h"

#include "base/checked.h"

/* Ten hours: windows last a second, but a process that was stopped may make one longer. */
static const uint64_t longest_ns = UINT64_C(1) << 45;

void vd_account_move_clocks(vd_account *a, uint64_t now_ns)
{
    uint64_t elapsed = now_ns > a->clock_ns ? now_ns - a->clock_ns : 0;
    elapsed = VD_MIN(elapsed, longest_ns) << VD_CLOCK_BITS;
    if (vd_account_n_present(a) == 0)
        a->empty += elapsed;
    else
        a->clock += elapsed / vd_account_n_present(a);
    if (a->n_running != 0)
        a->busy += elapsed / a->n_running;
    a->clock_ns = VD_MAX(now_ns, a->clock_ns);
}

static vd_stepper *stepper_of(vd_account *a, const vd_step *step)
{
    return &a->stepper[VD_MIN(step->model, (uint32_t)VD_ACCOUNT_MODELS_MAX - 1)];
}

static void weigh(vd_account *a, vd_resident *r, double time, double prefill, double decode)
{
    uint64_t first = (uint64_t)(time * prefill), second = (uint64_t)(time * decode);
    if (r == NULL) {
        a->stranger_weight += first + second;
        return;
    }
    r->prefill_weight += first;
    r->decode_weight += second;
}

bool vd_account_cut_steps(vd_account *a)
{
    bool some = false;
    uint64_t time[VD_ACCOUNT_MODELS_MAX] = {0};
    if (a->n_running == 0)
        return false;
    for (size_t i = 0; i < VD_ACCOUNT_MODELS_MAX; i++) {
        vd_stepper *s = &a->stepper[i];
        if (!s->running)
            continue;
        time[i] = a->busy - s->busy_from;
        some |= time[i] != 0;
        s->stepped |= time[i] != 0;
        s->busy_from = a->busy;
        a->stranger_weight += (uint64_t)((vd_wide)time[i] * s->stranger >> VD_PART_BITS);
    }
    for (size_t i = 0; some && i < a->residents.n; i++) {
        vd_resident *r = &a->residents.item[i];
        if (r->running != 0)
            weigh(a, r, (double)time[r->running - 1], r->prefill_part, r->decode_part);
    }
    return some;
}

void vd_account_begin_step(vd_account *a, const vd_step *step)
{
    vd_stepper *s = stepper_of(a, step);
    uint32_t number = (uint32_t)(s - a->stepper) + 1;
    vd_account_move_clocks(a, step->begin_ns);
    if (s->running && s->model != step->model)
        return; /* of two models beyond the table, only one is announced at a time */
    if (s->running) { /* its last step never ended: what it did counts, the rest is unknown */
        vd_account_cut_steps(a);
        for (size_t i = 0; i < a->residents.n; i++)
            if (a->residents.item[i].running == number)
                a->residents.item[i].running = 0;
    }
    a->n_running += !s->running;
    s->running = true;
    s->model = step->model;
    s->busy_from = a->busy;
    s->stranger = step->n_share == 0 ? UINT64_C(1) << VD_PART_BITS : 0;
    const vd_step_cost cost = vd_cost_get(&s->cost);
    double expected_ns = vd_cost_expected_ns(&cost, step);
    for (size_t i = 0; i < step->n_share; i++) {
        double prefill, decode;
        vd_cost_part(&cost, expected_ns, step, i, &prefill, &decode);
        vd_resident *r = vd_residents_find(&a->residents, step->share[i].request_id);
        if (r == NULL) {
            s->stranger += vd_account_fixed_part(prefill + decode);
            continue;
        }
        r->prefill_part = prefill;
        r->decode_part = decode;
        r->running = number;
    }
}

void vd_account_end_step(vd_account *a, const vd_step *step)
{
    vd_stepper *s = stepper_of(a, step);
    double time = (double)(VD_MIN(vd_cost_step_ns(step), longest_ns) << VD_CLOCK_BITS);
    vd_account_move_clocks(a, step->end_ns);
    if (s->running && s->model == step->model) {
        time = (double)(a->busy - s->busy_from);
        s->running = false;
        a->n_running--;
    }
    s->stepped = true;
    vd_cost_learn(&s->cost, step);
    const vd_step_cost cost = vd_cost_get(&s->cost);
    double expected_ns = vd_cost_expected_ns(&cost, step);
    if (step->n_share == 0)
        weigh(a, NULL, time, 0, 1);
    for (size_t i = 0; i < step->n_share; i++) {
        double prefill, decode;
        vd_cost_part(&cost, expected_ns, step, i, &prefill, &decode);
        vd_resident *r = vd_residents_find(&a->residents, step->share[i].request_id);
        weigh(a, r, time, prefill, decode);
        if (r != NULL)
            r->running = 0;
    }
}
