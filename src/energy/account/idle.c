/*
 * idle.c - how much of a window's energy the machine would have drawn anyway, waiting.
 *
 * The idle power is the median of the last quiet windows: those in which nobody was there and no
 * engine computed. Before any was seen, the model's figure serves.
 */
#include "energy/account/account_state.h"

#include <string.h>

#include "base/checked.h"

static const uint64_t quiet_ns = UINT64_C(100000000); /* shorter ones are mostly noise */

bool vd_reading_is_model(const vd_reading *reading)
{
    return strcmp(reading->method, "model") == 0;
}

static uint64_t energy_of(uint64_t uw, uint64_t ns)
{
    return (uint64_t)((vd_wide)uw * ns / 1000000000u);
}

/* The model's figure serves for no more than half where a meter is read: it may be of quite another
 * machine. */
uint64_t vd_account_idle_part(const vd_account *a, const vd_reading *now, vd_part part,
                              uint64_t metered, uint64_t ns)
{
    if (vd_reading_is_model(now))
        return VD_MIN(metered, energy_of(a->model_idle_uw[part], ns));
    uint64_t idle = energy_of(a->totals.idle_uw[part], ns);
    return VD_MIN(idle, a->totals.idle_measured ? metered : metered / 2);
}

void vd_account_learn_idle(vd_account *a, const vd_reading *now)
{
    uint64_t ns = now->at_ns - a->start.at_ns;
    if (ns < quiet_ns || ns < VD_REFRESHES * a->refresh_ns || vd_reading_is_model(now))
        return;
    for (size_t c = 0; c < VD_PART_N; c++)
        a->quiet_uw[a->next_quiet][c] =
            (uint64_t)((vd_wide)(now->uj[c] - a->start.uj[c]) * 1000000000u / ns);
    a->next_quiet = (a->next_quiet + 1) % VD_QUIET_N;
    a->n_quiet = VD_MIN(a->n_quiet + 1, (size_t)VD_QUIET_N);
    for (size_t c = 0; c < VD_PART_N; c++) {
        uint64_t sorted[VD_QUIET_N] = {0};
        for (size_t i = 0; i < a->n_quiet; i++) {
            size_t k = i;
            for (; k > 0 && sorted[k - 1] > a->quiet_uw[i][c]; k--)
                sorted[k] = sorted[k - 1];
            sorted[k] = a->quiet_uw[i][c];
        }
        a->totals.idle_uw[c] = sorted[a->n_quiet / 2];
    }
    a->totals.idle_measured = true;
}
