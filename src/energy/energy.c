/* energy.c - see energy.h. */
#include "energy/energy.h"

#include "base/checked.h"
#include "energy/method.h"

void vd_energy_add(vd_energy *sum, const vd_energy *one)
{
    bool first = sum->method == NULL;
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
    sum->uncertainty_pct = VD_MAX(sum->uncertainty_pct, one->uncertainty_pct);
    sum->common_pct = VD_MAX(sum->common_pct, one->common_pct);
    sum->independent_pct = VD_MAX(sum->independent_pct, one->independent_pct);
    sum->settled = (first || sum->settled) && one->settled;
    sum->incomplete |= one->incomplete;
}
