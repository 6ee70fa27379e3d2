/*
 * ipmi_device.c - requests to the management controller through the kernel's device file. The
 * structs are those of linux/ipmi.h; Documentation/driver-api/ipmi.rst of the kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/ipmi.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/fail.h"
#include "energy/sources/ipmi.h"

static const uint64_t wait_ns = UINT64_C(1000000000);

typedef struct device {
    int fd;
    long sequence; /* a late reply to an earlier request must not pass for this one's */
} device;

static int send_request(device *d, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n)
{
    unsigned char copy[32];
    struct ipmi_system_interface_addr address = {.addr_type = IPMI_SYSTEM_INTERFACE_ADDR_TYPE,
                                                 .channel = IPMI_BMC_CHANNEL};
    if (n > sizeof(copy))
        return EMSGSIZE;
    memcpy(copy, data, n);
    struct ipmi_req request = {
        .addr = (unsigned char *)&address,
        .addr_len = sizeof(address),
        .msgid = ++d->sequence,
        .msg = {.netfn = netfn, .cmd = command, .data = copy, .data_len = (unsigned short)n}};
    return ioctl(d->fd, IPMICTL_SEND_COMMAND, &request) == 0 ? 0 : errno;
}

/* One message, whatever it answers. */
static int receive(device *d, long *ret_sequence, uint8_t *reply, size_t size, size_t *ret_n)
{
    struct ipmi_addr address;
    struct ipmi_recv message = {.addr = (unsigned char *)&address,
                                .addr_len = sizeof(address),
                                .msg = {.data = reply, .data_len = (unsigned short)size}};
    if (ioctl(d->fd, IPMICTL_RECEIVE_MSG_TRUNC, &message) != 0 && errno != EMSGSIZE)
        return errno;
    *ret_sequence = message.msgid;
    *ret_n = message.msg.data_len;
    return 0;
}

static int exchange(void *ctx, uint8_t netfn, uint8_t command, const uint8_t *data, size_t n,
                    uint8_t *reply, size_t size, size_t *ret_n)
{
    device *d = ctx;
    uint64_t until_ns = vd_now_ns() + wait_ns;
    int failed = send_request(d, netfn, command, data, n);
    while (failed == 0) {
        long sequence = 0;
        uint64_t now_ns = vd_now_ns();
        struct pollfd ready = {.fd = d->fd, .events = POLLIN};
        if (now_ns >= until_ns ||
            poll(&ready, 1, (int)((until_ns - now_ns) / 1000000u) + 1) == 0)
            return ETIMEDOUT;
        failed = receive(d, &sequence, reply, size, ret_n);
        if (failed == 0 && sequence == d->sequence)
            return 0;
        failed = failed == EAGAIN || failed == EINTR ? 0 : failed;
    }
    return failed;
}

static void close_device(void *ctx)
{
    device *d = ctx;
    close(d->fd);
    vd_free(d);
}

vd_status vd_ipmi_device_open(const char *path, vd_ipmi_transport *ret_transport, vd_err *err)
{
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && (errno == EACCES || errno == EPERM))
        return VD_FAIL(err, VD_ERR_PERM,
                       "%.200s is for root: give the service's group access to it", path);
    if (fd < 0 && (errno == ENOENT || errno == ENODEV || errno == ENXIO))
        return VD_FAIL(err, VD_ERR_NOT_FOUND,
                       "no management controller: no %.200s (modprobe -a ipmi_devintf ipmi_si)",
                       path);
    if (fd < 0)
        return VD_FAIL(err, VD_ERR_IO, "%.200s: %s", path, strerror(errno));
    device *d = vd_calloc(1, sizeof(*d));
    if (d == NULL) {
        close(fd);
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for the meter ipmi");
    }
    d->fd = fd;
    *ret_transport = (vd_ipmi_transport){.exchange = exchange, .close = close_device, .ctx = d};
    return VD_OK;
}
