/*
 * prometheus_text.h - one value out of a page of metrics, in Prometheus' text format (its public
 * documentation, "Exposition formats", version 0.0.4) or OpenMetrics 1.0.
 *
 *   # TYPE plug_energy_joules_total counter
 *   plug_energy_joules_total{outlet="2",room="a"} 1.5e6 1700000000000
 *   name                     labels               value time (not used)
 *
 * Nothing is allocated, every byte is looked at once or twice. Threads: any.
 */
#ifndef VD_ENERGY_SOURCES_PROMETHEUS_TEXT_H
#define VD_ENERGY_SOURCES_PROMETHEUS_TEXT_H

#include <stddef.h>
#include <verdant/status.h>

enum { VD_METRIC_NAME_MAX = 128, VD_METRIC_LABELS_MAX = 8, VD_METRIC_VALUE_MAX = 128 };

/* Which series: a name, and labels that it must have (it may have others). */
typedef struct vd_metric_query {
    char name[VD_METRIC_NAME_MAX];
    size_t n_labels;
    struct {
        char name[VD_METRIC_NAME_MAX], value[VD_METRIC_VALUE_MAX];
    } label[VD_METRIC_LABELS_MAX];
} vd_metric_query;

typedef enum vd_metric_type {
    VD_METRIC_UNKNOWN, /* or of another type */
    VD_METRIC_COUNTER,
    VD_METRIC_GAUGE
} vd_metric_type;

typedef struct vd_metric {
    double value; /* as it stands there: NaN and infinities too */
    vd_metric_type type;
} vd_metric;

/* Parses `name{label="value",...}`; *ret_n is how many bytes it took. VD_ERR_ARG. */
VD_NODISCARD vd_status vd_metric_query_parse(const char *text, vd_metric_query *ret_query,
                                             size_t *ret_n, vd_err *err);

/* The one series of the page that the query means. VD_ERR_NOT_FOUND; VD_ERR_ARG where several are
 * meant; VD_ERR_FORMAT for a page that is none (HTML), or a line of this name that is malformed.
 * Other malformed lines are passed over. */
VD_NODISCARD vd_status vd_metric_find(const char *page, size_t n, const vd_metric_query *query,
                                      vd_metric *ret_metric, vd_err *err);

#endif
