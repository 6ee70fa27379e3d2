/*
 * sweep.h - the page of `verdant bench --sweep`: speed and energy over threads and batch.
 *
 * From its JSON: {"model", "cpu", "kernels", "energy_method", "uncertainty_pct", "depth",
 * "answer_tokens", "runs", "created", "program", "points": [{"threads", "batch", "tok_s",
 * "tok_s_min", "tok_s_max", "j_per_tok"}], "fastest": a point, "least_energy": a point}. Points
 * stand by threads, then by batch.
 */
#ifndef VD_REPORT_SWEEP_H
#define VD_REPORT_SWEEP_H

#include "base/buf.h"
#include "base/json.h"

/* One HTML file; nothing is loaded from elsewhere. */
void vd_sweep_page(const json_t *sweep, vd_buf *out);

#endif
