/* calibration_file.c - a calibration as a file, read strictly. See calibration.h. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "energy/power/calibration.h"

enum { FILE_LIMIT = 1 << 20 };

/* Loads that lie closer together than this say nothing of a curve. */
static const double least_range = 0.2;
/* Of the mean watts: what a machine that hardly ever rests may fall by noise. */
static const double most_fall = 0.25;

void vd_calibration_done(vd_calibration *calibration)
{
    vd_free(calibration->points);
    *calibration = (vd_calibration){0};
}

static vd_status wrong_number(const char *key, double value, double least, double most, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" is %g, but must be a number from %g to %g", key,
                   value, least, most);
}

/* A number within [least, most]; *ret stays where the key is missing and `needed` is false. */
static vd_status take_number(const json_t *object, const char *key, bool needed, double least,
                             double most, double *ret, vd_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL && !needed)
        return VD_OK;
    if (!json_is_number(value))
        return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" is %s, but must be a number from %g to %g", key,
                       value == NULL ? "missing" : "no number", least, most);
    double number = json_number_value(value);
    if (!(number >= least && number <= most))
        return wrong_number(key, number, least, most, err);
    *ret = number;
    return VD_OK;
}

static vd_status take_text(const json_t *object, const char *key, bool needed,
                           char ret[VD_CALIBRATION_TEXT_MAX], vd_err *err)
{
    const json_t *value = json_object_get(object, key);
    if (value == NULL && !needed)
        return VD_OK;
    const char *text = json_string_value(value);
    if (text == NULL || (needed && text[0] == '\0') || strlen(text) >= VD_CALIBRATION_TEXT_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" is %s, but must be a text of up to %d bytes",
                       key,
                       value == NULL  ? "missing"
                       : text == NULL ? "no text"
                                      : "empty or too long",
                       VD_CALIBRATION_TEXT_MAX - 1);
    for (const char *c = text; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return VD_FAIL(err, VD_ERR_FORMAT, "\"%s\" has a control character in it", key);
    snprintf(ret, VD_CALIBRATION_TEXT_MAX, "%s", text);
    return VD_OK;
}

static vd_status known_keys(const json_t *object, const char *const *keys, vd_err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        size_t i = 0;
        while (keys[i] != NULL && strcmp(keys[i], key) != 0)
            i++;
        if (keys[i] == NULL)
            return VD_FAIL(err, VD_ERR_FORMAT, "the key \"%.60s\" is not known", key);
    }
    return VD_OK;
}

static vd_status take_point(const json_t *value, double base_mhz, vd_power_point *point,
                            vd_err *err)
{
    static const char *const keys[] = {"load", "spread", "clock_mhz", "watts", NULL};
    double mhz = 0;
    if (!json_is_object(value))
        return VD_FAIL(err, VD_ERR_FORMAT, "it is no object");
    vd_status st = known_keys(value, keys, err);
    if (st == VD_OK)
        st = take_number(value, "load", true, 0, 1, &point->load, err);
    if (st == VD_OK)
        st = take_number(value, "spread", false, 0, 1, &point->spread, err);
    if (st == VD_OK)
        st = take_number(value, "clock_mhz", false, 0, 20000, &mhz, err);
    if (st == VD_OK)
        st = take_number(value, "watts", true, 0.001, 100000, &point->watts, err);
    point->clock = base_mhz > 0 ? VD_MIN(mhz / base_mhz, 10) : 0;
    return st;
}

static vd_status take_points(const json_t *list, vd_calibration *c, vd_err *err)
{
    size_t n = json_array_size(list);
    if (!json_is_array(list) || n < VD_CALIBRATION_POINTS_MIN || n > VD_CALIBRATION_POINTS_MAX)
        return VD_FAIL(err, VD_ERR_FORMAT, "\"points\" must be a list of %d to %d measurements",
                       VD_CALIBRATION_POINTS_MIN, VD_CALIBRATION_POINTS_MAX);
    vd_status st = vd_alloc_array(n, sizeof(*c->points), "points of a calibration", &c->points,
                                  err);
    for (size_t i = 0; i < n && st == VD_OK; i++) {
        st = take_point(json_array_get(list, i), c->base_mhz, &c->points[i], err);
        if (st != VD_OK)
            vd_err_prefix(err, "point %zu", i + 1);
        c->n = i + 1;
    }
    return st;
}

/* Whether a straight line through the points falls, over their range of loads, by more than noise
 * explains: no machine does that. */
static vd_status check_rise(const vd_calibration *c, double range, vd_err *err)
{
    double load = 0, watts = 0, both = 0, square = 0;
    for (size_t i = 0; i < c->n; i++) {
        load += c->points[i].load / (double)c->n;
        watts += c->points[i].watts / (double)c->n;
    }
    for (size_t i = 0; i < c->n; i++) {
        double x = c->points[i].load - load;
        both += x * (c->points[i].watts - watts);
        square += x * x;
    }
    if (both / square * range < -most_fall * watts)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "the watts of the %zu points fall with the load, by %.0f %% from the least "
                       "to the most: is it this machine's power?",
                       c->n, -100 * both / square * range / watts);
    return VD_OK;
}

vd_status vd_calibration_check(const vd_calibration *c, vd_err *err)
{
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < c->n; i++) {
        least = VD_MIN(least, c->points[i].load);
        most = VD_MAX(most, c->points[i].load);
    }
    if (c->n < VD_CALIBRATION_POINTS_MIN || most - least < least_range)
        return VD_FAIL(err, VD_ERR_FORMAT,
                       "%zu points between %.0f and %.0f %% load make no curve: %d or more are "
                       "needed, over at least %.0f %%",
                       c->n, c->n > 0 ? 100 * least : 0, c->n > 0 ? 100 * most : 0,
                       VD_CALIBRATION_POINTS_MIN, 100 * least_range);
    return check_rise(c, most - least, err);
}

static vd_status take_calibration(const json_t *root, vd_calibration *c, vd_err *err)
{
    static const char *const keys[] = {"verdant_calibration", "cpu_type", "covers", "threads",
                                       "base_mhz", "memory_gb", "meter", "meter_pct", "made_at",
                                       "points", NULL};
    char covers[VD_CALIBRATION_TEXT_MAX] = "";
    double version = 0;
    c->meter_pct = 5;
    if (!json_is_object(root))
        return VD_FAIL(err, VD_ERR_FORMAT, "it is no object");
    vd_status st = take_number(root, "verdant_calibration", true, 1, VD_CALIBRATION_VERSION,
                               &version, err);
    if (st == VD_OK)
        st = known_keys(root, keys, err);
    if (st == VD_OK)
        st = take_text(root, "cpu_type", true, c->cpu_type, err);
    if (st == VD_OK)
        st = take_text(root, "covers", true, covers, err);
    if (st == VD_OK && strcmp(covers, "package") != 0 && strcmp(covers, "wall") != 0)
        st = VD_FAIL(err, VD_ERR_FORMAT, "\"covers\" is \"%s\", but must be package or wall",
                     covers);
    c->wall = covers[0] == 'w';
    if (st == VD_OK)
        st = take_number(root, "threads", true, 0.01, 100000, &c->threads, err);
    if (st == VD_OK)
        st = take_number(root, "base_mhz", false, 0, 20000, &c->base_mhz, err);
    if (st == VD_OK)
        st = take_number(root, "memory_gb", false, 0, 1e6, &c->memory_gb, err);
    if (st == VD_OK)
        st = take_number(root, "meter_pct", false, 0, 100, &c->meter_pct, err);
    if (st == VD_OK)
        st = take_text(root, "meter", false, c->meter, err);
    if (st == VD_OK)
        st = take_text(root, "made_at", false, c->made_at, err);
    if (st == VD_OK)
        st = take_points(json_object_get(root, "points"), c, err);
    return st == VD_OK ? vd_calibration_check(c, err) : st;
}

vd_status vd_calibration_parse(const char *text, size_t n, vd_calibration *ret_calibration,
                               vd_err *err)
{
    json_t *root = NULL;
    vd_calibration c = {0};
    vd_status st = vd_json_parse(text, n, &root, err);
    if (st == VD_OK)
        st = take_calibration(root, &c, err);
    if (st == VD_OK) {
        *ret_calibration = c;
        c = (vd_calibration){0};
    }
    vd_calibration_done(&c);
    json_decref(root);
    return st;
}

vd_status vd_calibration_read(const char *path, vd_calibration *ret_calibration, vd_err *err)
{
    char *text = NULL;
    size_t n = 0;
    vd_status st = vd_file_read(path, FILE_LIMIT, &text, &n, err);
    if (st != VD_OK)
        return st;
    st = vd_calibration_parse(text, n, ret_calibration, err);
    if (st != VD_OK)
        vd_err_prefix(err, "%s", path);
    vd_free(text);
    return st;
}

static double rounded(double value)
{
    return round(value * 1e6) / 1e6;
}

json_t *vd_calibration_json(const vd_calibration *c)
{
    json_t *points = json_array();
    for (size_t i = 0; i < c->n; i++) {
        const vd_power_point *p = &c->points[i];
        json_t *point = json_pack("{s:f, s:f}", "load", rounded(p->load), "spread",
                                  rounded(VD_MAX(p->spread, p->load)));
        if (c->base_mhz > 0 && p->clock > 0)
            json_object_set_new(point, "clock_mhz", json_real(round(p->clock * c->base_mhz)));
        json_object_set_new(point, "watts", json_real(rounded(p->watts)));
        json_array_append_new(points, point);
    }
    return json_pack("{s:i, s:s, s:s, s:f, s:f, s:f, s:s, s:f, s:s, s:o}", "verdant_calibration",
                     VD_CALIBRATION_VERSION, "cpu_type", c->cpu_type, "covers",
                     c->wall ? "wall" : "package", "threads", c->threads, "base_mhz", c->base_mhz,
                     "memory_gb", rounded(c->memory_gb), "meter", c->meter, "meter_pct",
                     c->meter_pct, "made_at", c->made_at, "points", points);
}

/* Nothing is written that would be refused when it is read. */
static vd_status check_value(const vd_calibration *c, const json_t *value, vd_err *err)
{
    vd_calibration again = {0};
    if (!vd_utf8_valid(c->cpu_type, strlen(c->cpu_type)))
        return VD_FAIL(err, VD_ERR_FORMAT, "the processor's name '%s' is no UTF-8", c->cpu_type);
    if (value == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the text of a calibration");
    vd_status st = take_calibration(value, &again, err);
    vd_calibration_done(&again);
    return st;
}

vd_status vd_calibration_write(const vd_calibration *calibration, const char *path, vd_err *err)
{
    json_t *value = vd_calibration_json(calibration);
    char *folder = NULL;
    vd_atomic_file file = {0};
    vd_status st = check_value(calibration, value, err);
    if (st != VD_OK)
        goto out;
    const char *slash = strrchr(path, '/');
    if (slash != NULL && slash != path) {
        folder = vd_strndup(path, (size_t)(slash - path));
        st = folder == NULL ? VD_FAIL(err, VD_ERR_NOMEM, "no memory for %s", path)
                            : vd_make_dirs(folder, err);
    }
    if (st == VD_OK)
        st = vd_atomic_file_open(path, &file, err);
    if (st != VD_OK)
        goto out;
    if (json_dumpf(value, file.stream, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) != 0 ||
             fputc('\n', file.stream) < 0)
        st = VD_FAIL(err, VD_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (st == VD_OK)
        st = vd_atomic_file_commit(&file, err);
out:
    vd_atomic_file_done(&file);
    vd_free(folder);
    json_decref(value);
    return st;
}
