/* energy.c - see energy.h. */
#include "energy/energy.h"

#include <math.h>

#include "base/checked.h"
#include "energy/method.h"

double vd_energy_uncertainty(const vd_energy *e)
{
    return sqrt(e->common_pct * e->common_pct + e->independent_pct * e->independent_pct);
}

/* In percent of the sum of both: the root of the sum of their squared errors in microjoules. */
static double independent_of(const vd_energy *sum, const vd_energy *one)
{
    double a = sum->independent_pct * (double)sum->total_uj;
    double b = one->independent_pct * (double)one->total_uj;
    double total = (double)sum->total_uj + (double)one->total_uj;
    return total > 0 ? sqrt(a * a + b * b) / total
                     : VD_MAX(sum->independent_pct, one->independent_pct);
}

void vd_energy_add(vd_energy *sum, const vd_energy *one)
{
    bool first = sum->method == NULL;
    sum->independent_pct = independent_of(sum, one);
    sum->total_uj += one->total_uj;
    sum->active_uj += one->active_uj;
    sum->idle_share_uj += one->idle_share_uj;
    sum->prefill_uj += one->prefill_uj;
    sum->decode_uj += one->decode_uj;
    sum->cpu_uj += one->cpu_uj;
    sum->dram_uj += one->dram_uj;
    sum->gpu_uj += one->gpu_uj;
    sum->machine_ns += one->machine_ns;
    sum->method = vd_method_join(sum->method, one->method);
    sum->operational_ug += one->operational_ug;
    sum->common_pct = VD_MAX(sum->common_pct, one->common_pct);
    sum->settled = (first || sum->settled) && one->settled;
    sum->incomplete |= one->incomplete;
    if (sum->incomplete)
        sum->independent_pct = 100;
    sum->uncertainty_pct = sum->incomplete ? 100 : vd_energy_uncertainty(sum);
}
