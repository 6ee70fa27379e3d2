/* power_curve.h - the curve of power.h by its parameters. Inside src/energy only. */
#ifndef VD_ENERGY_POWER_CURVE_H
#define VD_ENERGY_POWER_CURVE_H

#include "energy/power/power.h"

/* Watts, above zero where those of `base` are. */
double vd_power_curve(const vd_power_base *base, const double parameter[VD_POWER_N],
                      const vd_power_point *at);
/* Its relative slopes: d ln P / d parameter. */
void vd_power_slopes(const vd_power_base *base, const double parameter[VD_POWER_N],
                     const vd_power_point *at, double ret_slope[VD_POWER_N]);

#endif
