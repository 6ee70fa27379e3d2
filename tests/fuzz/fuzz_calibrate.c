/*
 * fuzz_calibrate.c - libFuzzer target for what `verdant doctor --calibrate` reads: a calibration
 * (first byte 'c'), a table of loads ('l') or one of a meter (anything else).
 *
 * Whatever the bytes: a refusal with a message, or values within bounds, whose curve is finite.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "energy/power/calibration.h"
#include "energy/power/load_csv.h"
#include "energy/power/meter_csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void check_curve(const vd_power *power)
{
    for (int i = 0; i <= 4; i++) {
        vd_power_estimate e;
        vd_power_predict(power, &(vd_power_point){.load = i / 4.0}, &e);
        require(isfinite(e.watts) && e.watts > 0 && isfinite(e.pct) && e.pct >= 0);
    }
}

static void check_calibration(const char *text, size_t n)
{
    vd_calibration c = {.threads = -7};
    vd_err err = {0};
    if (vd_calibration_parse(text, n, &c, &err) != VD_OK) {
        require(err.message[0] != '\0' && c.threads == -7 && c.points == NULL);
        return;
    }
    vd_machine machine = {.n_cpu = 4};
    vd_power power;
    vd_machine_family("", 0, 0, "", &machine);
    if (vd_calibration_fit(&c, &machine, &power, &err) == VD_OK)
        check_curve(&power);
    vd_calibration_done(&c);
}

static void check_loads(const vd_sheet *sheet)
{
    vd_load_step step[64];
    size_t n = 0;
    vd_err err = {0};
    vd_load_csv_options o = {.watts = sheet->n_rows % 2 == 0, .times = sheet->n_rows % 3 == 0,
                             .base_mhz = 2000};
    if (vd_load_csv_take(sheet, &o, step, 64, &n, &err) != VD_OK) {
        require(err.message[0] != '\0');
        return;
    }
    require(n == sheet->n_rows);
    for (size_t i = 0; i < n; i++)
        require(step[i].at.load >= 0 && step[i].at.load <= 1 && step[i].at.watts >= 0 &&
                step[i].at.spread >= 0 && step[i].at.spread <= 1);
}

static void check_meter(const vd_sheet *sheet)
{
    vd_recording r = {0};
    vd_err err = {0};
    if (vd_recording_take(sheet, &(vd_recording_options){0}, &r, &err) != VD_OK) {
        require(err.message[0] != '\0' && r.time_s == NULL);
        return;
    }
    require(r.n >= 2 && r.n + r.n_repeated + r.n_skipped == sheet->n_rows);
    for (size_t i = 0; i < r.n; i++)
        require(r.watts[i] >= 0 && (i == 0 || r.time_s[i] > r.time_s[i - 1]));
    vd_recording_done(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    char *text = vd_strndup((const char *)data + 1, size - 1);
    require(text != NULL);
    size_t n = strlen(text);
    if (data[0] == 'c') {
        check_calibration(text, n);
        vd_free(text);
        return 0;
    }
    vd_sheet sheet = {0};
    vd_err err = {0};
    if (vd_sheet_parse(text, n, "input", &sheet, &err) != VD_OK) {
        require(err.message[0] != '\0' && sheet.text == NULL);
        return 0;
    }
    if (data[0] == 'l')
        check_loads(&sheet);
    else
        check_meter(&sheet);
    vd_sheet_done(&sheet);
    return 0;
}
