/*
 * test_source_ipmi_device.c - requests through the kernel's device file of a management controller.
 *
 * A FIFO stands for /dev/ipmi0 and this file's own ioctl() for the driver: a reply that waits is a
 * byte in the FIFO, so that poll() works as it does there. Structs and calls: linux/ipmi.h and
 * Documentation/driver-api/ipmi.rst of the kernel.
 */
#include "source_test.h"

#include <linux/ipmi.h>
#include <stdarg.h>
#include <sys/ioctl.h>

#include "energy/sources/ipmi.h"
#include "energy/sources/sources.h"

static struct driver {
    int send_errno;    /* sending fails with it */
    bool silent;       /* replies never come */
    bool late_first;   /* the reply to an earlier request comes before */
    bool too_long;     /* as a reply that was cut: EMSGSIZE */
    unsigned watts;
    long sequence;     /* of the last request */
    unsigned n_waiting, n_sent;
} driver;

static int play_send(int fd, const struct ipmi_req *request)
{
    struct ipmi_system_interface_addr address;
    static const uint8_t wanted[] = {0xdc, 0x01, 0x00, 0x00};
    if (driver.send_errno != 0) {
        errno = driver.send_errno;
        return -1;
    }
    assert_int_equal(request->addr_len, sizeof(address));
    memcpy(&address, request->addr, sizeof(address));
    assert_int_equal(address.addr_type, IPMI_SYSTEM_INTERFACE_ADDR_TYPE);
    assert_int_equal(address.channel, IPMI_BMC_CHANNEL);
    assert_int_equal(request->msg.netfn, 0x2c);
    assert_int_equal(request->msg.cmd, 0x02);
    assert_int_equal(request->msg.data_len, sizeof(wanted));
    assert_memory_equal(request->msg.data, wanted, sizeof(wanted));
    assert_true(request->msgid != driver.sequence);
    driver.sequence = request->msgid;
    driver.n_sent++;
    for (unsigned i = 0; !driver.silent && i < 1u + driver.late_first; i++) {
        assert_int_equal(write(fd, "r", 1), 1);
        driver.n_waiting++;
    }
    return 0;
}

static int play_receive(int fd, struct ipmi_recv *message)
{
    const uint8_t low = (uint8_t)driver.watts, high = (uint8_t)(driver.watts >> 8);
    const uint8_t reply[] = {0x00, 0xdc, low,  high, 0x64, 0x00, 0x90, 0x01, 0xb4, 0x00,
                             0x81, 0x7e, 0x20, 0x53, 0xe8, 0x03, 0x00, 0x00, 0x40};
    char byte;
    if (driver.n_waiting == 0) {
        errno = EAGAIN;
        return -1;
    }
    assert_int_equal(read(fd, &byte, 1), 1);
    bool late = driver.late_first && driver.n_waiting == 2;
    driver.n_waiting--;
    assert_true(message->msg.data_len >= sizeof(reply));
    memcpy(message->msg.data, reply, sizeof(reply));
    if (late)
        message->msg.data[2] = 0xff; /* what must not be believed */
    message->msg.data_len = sizeof(reply);
    message->msgid = late ? driver.sequence - 1 : driver.sequence;
    errno = EMSGSIZE;
    return driver.too_long ? -1 : 0;
}

/* Stands before the C library's. */
int ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *what = va_arg(args, void *);
    va_end(args);
    if (request == IPMICTL_SEND_COMMAND)
        return play_send(fd, what);
    if (request == IPMICTL_RECEIVE_MSG_TRUNC)
        return play_receive(fd, what);
    errno = ENOTTY;
    return -1;
}

static char device[128];

static void setup(source_test *t)
{
    *t = (source_test){0};
    driver = (struct driver){.watts = 300};
    tree_make(&t->tree);
    snprintf(device, sizeof(device), "%s/ipmi0", t->tree.root);
    assert_int_equal(mkfifo(device, 0600), 0);
}

static void teardown(source_test *t)
{
    close_source(t);
    tree_remove(&t->tree);
    assert_int_equal(vd_alloc_stats_get().n_live, 0);
}

static void the_controller_is_asked_and_its_watts_are_integrated(void **state)
{
    source_test t;
    setup(&t);
    must_open(&t, vd_source_ipmi_open, device);
    assert_string_equal(t.source.name, "ipmi: DCMI power reading");
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 300000000);
    driver.watts = 700;
    driver.too_long = true; /* the rest of a long reply is nothing to us */
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 500000000);
    assert_int_equal(driver.n_sent, 3);
    teardown(&t);
}

static void a_late_reply_does_not_pass_for_the_next_one(void **state)
{
    source_test t;
    setup(&t);
    must_open(&t, vd_source_ipmi_open, device);
    driver.late_first = true;
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 300000000);
    assert_int_equal(driver.n_waiting, 0);
    teardown(&t);
}

static void a_controller_that_says_nothing_or_refuses_is_a_gap(void **state)
{
    source_test t;
    setup(&t);
    must_open(&t, vd_source_ipmi_open, device);
    driver.silent = true;
    assert_false(read_source(&t, SECOND));
    assert_non_null(strstr(t.source.last_gap, "timed out"));
    driver.silent = false;
    driver.send_errno = EBUSY;
    assert_false(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 0);
    assert_true(t.source.lost_since_ns != 0);
    driver.send_errno = 0;
    assert_false(read_source(&t, SECOND));
    assert_true(read_source(&t, SECOND));
    assert_int_equal(t.uj[VD_PART_CPU], 300000000);
    teardown(&t);
}

static void opening_without_memory_is_a_status(void **state)
{
    source_test t;
    setup(&t);
    fail_each_allocation(&t, vd_source_ipmi_open, device);
    teardown(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_controller_is_asked_and_its_watts_are_integrated),
        cmocka_unit_test(a_late_reply_does_not_pass_for_the_next_one),
        cmocka_unit_test(a_controller_that_says_nothing_or_refuses_is_a_gap),
        cmocka_unit_test(opening_without_memory_is_a_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
