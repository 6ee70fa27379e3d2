/*
 * ipmi.h - how ipmi.c talks to a server's management controller; the tests play replies through it.
 * Inside src/energy/sources only.
 */
#ifndef VD_ENERGY_SOURCES_IPMI_H
#define VD_ENERGY_SOURCES_IPMI_H

#include <stddef.h>
#include <stdint.h>

#include "energy/sources/source.h"

typedef struct vd_ipmi_transport {
    /* Sends a request and waits for its reply, at most about a second. The reply begins with the
     * completion code. 0 or an errno. */
    int (*exchange)(void *ctx, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n,
                    uint8_t *reply, size_t size, size_t *ret_n);
    void (*close)(void *ctx);
    void *ctx;
} vd_ipmi_transport;

/* The kernel's device file (/dev/ipmi0). VD_ERR_NOT_FOUND, VD_ERR_PERM, VD_ERR_IO, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_ipmi_device_open(const char *path, vd_ipmi_transport *ret_transport,
                                           vd_err *err);

/* The source over a transport, which is closed with it, also on failure. */
VD_NODISCARD vd_status vd_source_ipmi_open_over(const vd_source_env *env,
                                                const vd_ipmi_transport *transport,
                                                vd_source *ret_source, vd_err *err);

/* The watts of a reply to DCMI's Get Power Reading, n bytes from the completion code on. NULL and
 * *ret_w, or what is wrong with it (static storage). */
const char *vd_dcmi_power(const uint8_t *reply, size_t n, unsigned *ret_w);

#endif
