/*
 * ipmi.c - the power of a server as its power supplies and management controller see it
 * (vd_source_ipmi_open in sources.h; docs/meters.md).
 *
 * Two ways. ACPI's power meter, an hwmon sensor named power_meter (drivers/hwmon/acpi_power_meter.c
 * of the kernel), needs no rights. DCMI's Get Power Reading (DCMI 1.5 specification, section 6.6.1)
 * goes to the controller through /dev/ipmi0:
 *
 *   request   netfn 2c  command 02   dc 01 00 00       group, mode: system power, reserved
 *   reply     00 dc  c8 00  64 00  90 01  b4 00  TTTTTTTT  PPPPPPPP  40
 *             |      now    least  most   mean   time      ms        bit 6: it is measuring
 *             completion code              (watts, low byte first)
 */
#include "energy/sources/ipmi.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/fail.h"
#include "energy/sources/sampler.h"
#include "energy/sources/sources.h"

/* Controllers renew the figure about once a second, and each request costs the kernel's driver
 * CPU time while it waits for the controller's slow port. */
static const uint64_t period_ns = UINT64_C(1000000000), refresh_ns = UINT64_C(2000000000);
static const double most_w = 20000;
static const uint64_t most_ns = UINT64_C(5000000000);
static const double common_pct = 5, independent_pct = 5; /* docs/meters.md */

enum { GROUP = 0xdc, NETFN = 0x2c, COMMAND = 0x02, REPLY_LEN = 19, MEASURING = 0x40 };

static const char *completion_text(uint8_t code)
{
    switch (code) {
    case 0xc0:
        return "the controller is busy";
    case 0xc1:
    case 0xc2:
        return "the controller has no DCMI power reading (command not known)";
    case 0xc3:
        return "the controller timed out";
    case 0xcb:
        return "the controller has no power sensor";
    case 0xd4:
        return "the controller denies it (privilege)";
    case 0xd5:
        return "the controller cannot measure in its present state";
    default:
        return "the controller answers with an error";
    }
}

const char *vd_dcmi_power(const uint8_t *reply, size_t n, unsigned *ret_w)
{
    if (n == 0)
        return "an empty reply";
    if (reply[0] != 0)
        return completion_text(reply[0]);
    if (n < REPLY_LEN)
        return "a reply that is too short";
    if (reply[1] != GROUP)
        return "a reply of another group than DCMI";
    if ((reply[18] & MEASURING) == 0)
        return "power measurement is not active";
    *ret_w = (unsigned)reply[2] | (unsigned)reply[3] << 8;
    return NULL;
}

typedef struct controller {
    vd_ipmi_transport transport;
    vd_channel channel;
} controller;

/* NULL and the watts, or what went wrong. */
static const char *ask(controller *c, unsigned *ret_w)
{
    static const uint8_t request[] = {GROUP, 0x01, 0x00, 0x00};
    uint8_t reply[64];
    size_t n = 0;
    int failed = c->transport.exchange(c->transport.ctx, NETFN, COMMAND, request, sizeof(request),
                                       reply, sizeof(reply), &n);
    return failed != 0 ? strerror(failed) : vd_dcmi_power(reply, n, ret_w);
}

static void sample_controller(void *self, uint64_t now_ns, vd_sample *sample)
{
    controller *c = self;
    unsigned watts = 0;
    const char *wrong = ask(c, &watts);
    if (wrong != NULL)
        vd_channel_fail(&c->channel, sample, "cannot be read: %s", wrong);
    else
        vd_channel_gauge(&c->channel, now_ns, (uint64_t)watts * 1000000, sample);
}

static void free_controller(void *self)
{
    controller *c = self;
    c->transport.close(c->transport.ctx);
    vd_free(c);
}

vd_status vd_source_ipmi_open_over(const vd_source_env *env, const vd_ipmi_transport *transport,
                                   vd_source *ret_source, vd_err *err)
{
    controller *c = vd_calloc(1, sizeof(*c));
    if (c == NULL) {
        transport->close(transport->ctx);
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter ipmi");
    }
    c->transport = *transport;
    c->channel = (vd_channel){.name = "the management controller",
                              .part = VD_PART_CPU,
                              .most_w = most_w,
                              .most_ns = most_ns,
                              .never_zero = true};
    vd_source source = {.method = "ipmi",
                        .name = "ipmi: DCMI power reading",
                        .parts = VD_SOURCE_WHOLE,
                        .refresh_ns = refresh_ns,
                        .common_pct = common_pct,
                        .independent_pct = independent_pct};
    vd_sampler_plan plan = {.sample = sample_controller,
                            .free = free_controller,
                            .self = c,
                            .period_ns = period_ns};
    vd_status st = vd_sampler_start(&plan, env, &source, ret_source, err);
    if (st != VD_OK)
        free_controller(c);
    return st;
}

static vd_status open_acpi(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    vd_source_env asked = *env;
    asked.spec = "power_meter@all";
    vd_status st = vd_source_hwmon_open(&asked, ret_source, err);
    if (st != VD_OK)
        return st;
    ret_source->method = "ipmi";
    ret_source->common_pct = common_pct;
    ret_source->independent_pct = independent_pct;
    snprintf(ret_source->name, sizeof(ret_source->name), "ipmi: ACPI power meter");
    return VD_OK;
}

static vd_status open_device(const vd_source_env *env, const char *path, vd_source *ret_source,
                             vd_err *err)
{
    vd_ipmi_transport transport;
    vd_status st = vd_ipmi_device_open(path, &transport, err);
    return st == VD_OK ? vd_source_ipmi_open_over(env, &transport, ret_source, err) : st;
}

vd_status vd_source_ipmi_open(const vd_source_env *env, vd_source *ret_source, vd_err *err)
{
    if (env->spec[0] == '/')
        return open_device(env, env->spec, ret_source, err);
    if (strcmp(env->spec, "acpi") == 0)
        return open_acpi(env, ret_source, err);
    if (env->spec[0] != '\0')
        return VD_FAIL(err, VD_ERR_ARG,
                       "ipmi: \"%.100s\" is neither acpi nor a device as /dev/ipmi0", env->spec);
    vd_status st = open_acpi(env, ret_source, err);
    return st == VD_ERR_NOT_FOUND ? open_device(env, "/dev/ipmi0", ret_source, err) : st;
}
