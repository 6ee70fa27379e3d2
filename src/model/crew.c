/* crew.c - see crew.h. */
#include "model/crew.h"

#include "base/checked.h"

enum {
    AVERAGE = 16,    /* steps that step_ns remembers */
    KNOWN = 4,       /* steps after which step_ns can be compared with */
    TRIAL = 6,       /* steps of a trial; the first does not count: threads wake, caches fill */
    PAUSE_MIN = 32, PAUSE_MAX = 512, /* steps between trials */
    STEPS_PER_LONG = 4 /* a long wait in so many steps is noise */
};
static const double gain = 0.97; /* what a trial must better */

void vd_crew_init(vd_crew *crew, size_t n_max, bool explore)
{
    *crew = (vd_crew){.n_max = n_max, .n_use = n_max, .exploring = explore && n_max > 1,
                      .pause = explore ? KNOWN : PAUSE_MIN, .backoff = PAUSE_MIN};
}

static void begin_trial(vd_crew *c, size_t n)
{
    c->n_try = n;
    c->try_ns = 0;
    c->n_steps = 0;
    c->tried_all = n == c->n_max && !c->tried_all;
}

/* Half while exploring; else an eighth less, after trials that lost two, four, ... eighths. */
static size_t fewer(vd_crew *c)
{
    if (c->exploring)
        return c->n_use / 2;
    size_t less = VD_MAX(c->n_use / 8, (size_t)1) << c->n_lost;
    if (less >= c->n_use) {
        c->n_lost = 0;
        less = c->n_use - 1;
    }
    return c->n_use - less;
}

/* Where we have fewer than all: all again, or after that an eighth more. Where those we have wait:
 * fewer. */
static void consider_trial(vd_crew *c)
{
    bool waits = c->n_long * STEPS_PER_LONG > c->n_since;
    size_t more = c->tried_all ? c->n_use + VD_MAX(c->n_use / 8, (size_t)1) : c->n_max;
    if (c->n_use < c->n_max && !c->exploring && (!c->tried_all || !waits))
        begin_trial(c, VD_MIN(more, c->n_max));
    else if (c->n_use > 1 && (c->exploring || waits))
        begin_trial(c, fewer(c));
    else
        c->exploring = false;
    c->n_long = c->n_since = 0;
}

static void end_trial(vd_crew *c, bool won)
{
    if (won) {
        c->n_use = c->n_try;
        c->step_ns = c->try_ns / (TRIAL - 1);
        c->backoff = PAUSE_MIN;
        c->pause = c->exploring ? 0 : PAUSE_MIN;
        c->n_lost = 0;
    } else {
        c->n_lost += c->n_try < c->n_use && !c->exploring;
        c->exploring = false;
        c->pause = c->backoff;
        c->backoff = VD_MIN(c->backoff * 2, (unsigned)PAUSE_MAX);
    }
    c->n_try = 0;
    c->n_steps = KNOWN;
    c->n_long = c->n_since = 0;
}

size_t vd_crew_size(const vd_crew *crew)
{
    return crew->n_try != 0 ? crew->n_try : crew->n_use;
}

void vd_crew_note(vd_crew *crew, uint64_t step_ns, unsigned n_long_waits)
{
    double ns = (double)step_ns;
    if (crew->n_max == 1)
        return;
    crew->n_steps++;
    if (crew->n_try != 0) {
        if (crew->n_steps > 1)
            crew->try_ns += ns;
        bool lost = crew->try_ns >= gain * (TRIAL - 1) * crew->step_ns;
        if (lost || crew->n_steps == TRIAL)
            end_trial(crew, !lost);
        return;
    }
    crew->n_steps = VD_MIN(crew->n_steps, (unsigned)AVERAGE);
    crew->step_ns += (ns - crew->step_ns) / (double)crew->n_steps;
    crew->n_long += n_long_waits;
    crew->n_since++;
    if (crew->pause > 0)
        crew->pause--;
    else if (crew->n_steps >= KNOWN)
        consider_trial(crew);
}
