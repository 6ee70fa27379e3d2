/*
 * test_source_meterd.c - counters by way of verdant-meterd: the real one, killed and started anew,
 * and false ones that are late, silent or talk nonsense.
 */
#include "fake_tree.h"

#include <libgen.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>

#include "base/alloc.h"
#include "base/clock.h"

static void nap(uint64_t ns)
{
    nanosleep(&(struct timespec){.tv_sec = (time_t)(ns / SECOND), .tv_nsec = (long)(ns % SECOND)},
              NULL);
}

/* ---- the real one --------------------------------------------------------------------------- */

typedef struct daemon_run {
    fake_tree tree;
    char program[512], socket[128], spec[160];
    pid_t pid;
} daemon_run;

static bool answers(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected = connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;
    close(fd);
    return connected;
}

static void daemon_start(daemon_run *d)
{
    d->pid = fork();
    assert_true(d->pid >= 0);
    if (d->pid == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, 2);
        execl(d->program, d->program, "--socket", d->socket, "--sysfs", d->tree.root, (char *)NULL);
        _exit(127);
    }
    for (int i = 0; i < 500 && !answers(d->socket); i++)
        nap(10000000);
    assert_true(answers(d->socket));
}

static void daemon_end(daemon_run *d, int with)
{
    int status;
    assert_int_equal(kill(d->pid, with), 0);
    assert_int_equal(waitpid(d->pid, &status, 0), d->pid);
    if (with == SIGTERM)
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void daemon_make(daemon_run *d)
{
    memset(d, 0, sizeof(*d));
    make_server(&d->tree);
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(n > 0);
    self[n] = '\0';
    snprintf(d->program, sizeof(d->program), "%s/../verdant-meterd", dirname(self));
    snprintf(d->socket, sizeof(d->socket), "%s/meterd.sock", d->tree.root);
    snprintf(d->spec, sizeof(d->spec), "meterd:%s", d->socket);
    if (access(d->program, X_OK) != 0) {
        tree_remove(&d->tree);
        print_message("skipped: this build has no verdant-meterd\n");
        skip();
    }
}

/* Reads as often as it takes on a busy machine; the clock moves a second each time. */
static vd_reading settled_reading(daemon_run *d, vd_meter *meter)
{
    vd_reading r = {0};
    for (int i = 0; i < 3; i++) {
        r = read_after(&d->tree, meter, SECOND / 3);
        nap(2000000);
    }
    return r;
}

static void counters_of_root_arrive_to_the_microjoule(void **state)
{
    daemon_run d;
    daemon_make(&d);
    zone_add(&d.tree, "intel-rapl-mmio:0", "package-0", PACKAGE_RANGE, 1000);
    zone_add(&d.tree, "intel-rapl:2", "psys", PACKAGE_RANGE, 0);
    daemon_start(&d);
    d.tree.spec = d.spec;
    vd_meter *meter = tree_meter(&d.tree);
    vd_meter_info info = info_of(meter);
    assert_string_equal(info.method, "rapl");
    assert_string_equal(info.source[0].name, "rapl by verdant-meterd");
    assert_int_equal(use_of(&info, "intel-rapl-mmio:0"), VD_RAPL_TWIN);
    assert_int_equal(use_of(&info, "intel-rapl:2"), VD_RAPL_WHOLE);
    assert_int_equal(info.n_zones, 6); /* no cores: they say more than a bill needs */
    zone_set(&d.tree, "intel-rapl:0", 1000 + 40000);
    zone_set(&d.tree, "intel-rapl:1", 2000 + 5000);
    zone_set(&d.tree, "intel-rapl:0:1", 70 + 600);
    vd_reading r = settled_reading(&d, meter);
    assert_int_equal(r.uj[VD_PART_CPU], 45000);
    assert_int_equal(r.uj[VD_PART_DRAM], 600);
    vd_meter_close(meter);
    daemon_end(&d, SIGTERM);
    tree_remove(&d.tree);
}

static void a_killed_daemon_is_a_gap_and_its_successor_goes_on(void **state)
{
    daemon_run d;
    daemon_make(&d);
    daemon_start(&d);
    d.tree.spec = d.spec;
    vd_meter *meter = tree_meter(&d.tree);
    zone_set(&d.tree, "intel-rapl:0", 1000 + 100);
    assert_int_equal(settled_reading(&d, meter).uj[VD_PART_CPU], 100);
    daemon_end(&d, SIGKILL);
    (void)read_after(&d.tree, meter, SECOND);
    nap(150000000);
    vd_reading r = read_after(&d.tree, meter, SECOND);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 100);
    assert_non_null(strstr(info_of(meter).last_gap, "intel-rapl:"));
    zone_set(&d.tree, "intel-rapl:0", 1000 + 100 + 777); /* unseen, not lost */
    zone_set(&d.tree, "intel-rapl:1", 2000 + 1);
    zone_set(&d.tree, "intel-rapl:0:1", 71);
    zone_set(&d.tree, "intel-rapl:1:1", 81);
    daemon_start(&d); /* the dead one's socket is in its way */
    bool was_back = false;
    for (int i = 0; i < 50 && !was_back; i++) {
        r = read_after(&d.tree, meter, SECOND / 10);
        was_back = r.uj[VD_PART_CPU] == 100 + 777 + 1;
        assert_true(r.gap || was_back);
        nap(1000000);
    }
    assert_true(was_back);
    zone_set(&d.tree, "intel-rapl:0", 1000 + 100 + 777 + 50);
    r = settled_reading(&d, meter);
    assert_false(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 100 + 777 + 1 + 50);
    assert_int_equal(r.uj[VD_PART_DRAM], 2);
    vd_meter_close(meter);
    daemon_end(&d, SIGTERM);
    tree_remove(&d.tree);
}

static void without_a_daemon_a_named_meter_is_an_error_that_says_so(void **state)
{
    fake_tree tree;
    vd_meter *meter = NULL;
    vd_err err = {0};
    tree_make(&tree);
    vd_meter_options options = {.sysfs = tree.root, .spec = "meterd:/nonexistent/meterd.sock"};
    assert_int_equal(vd_meter_open(&options, &meter, &err), VD_ERR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/meterd.sock"));
    char longer[300] = "meterd:/";
    memset(longer + 8, 'x', 200);
    options.spec = longer;
    assert_int_equal(vd_meter_open(&options, &meter, &err), VD_ERR_ARG);
    tree_remove(&tree);
}

/* ---- false ones ------------------------------------------------------------------------------ */

static const char one_zone[] = "zones 1 1\nintel-rapl:0 package-0 262143328850\n";

typedef struct false_daemon {
    fake_tree tree;
    char socket[128], spec[160];
    int listening;
    pthread_t thread;
    pthread_mutex_t lock;
    /* guarded by lock: */
    const char *zones; /* what it says to `zones`; NULL: nothing */
    char reading[128]; /* what it says to `read`; "": nothing */
    uint64_t delay_ns; /* before it answers `read` */
    bool hangs_up;     /* on the next request */
    bool stops;
} false_daemon;

static void answer_one(false_daemon *f, int fd, const char *request)
{
    pthread_mutex_lock(&f->lock);
    char text[512] = "";
    bool reads = strncmp(request, "read", 4) == 0;
    snprintf(text, sizeof(text), "%s", reads ? f->reading : f->zones != NULL ? f->zones : "");
    uint64_t delay_ns = reads ? f->delay_ns : 0;
    if (f->hangs_up) {
        f->hangs_up = false;
        text[0] = '\0';
        shutdown(fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&f->lock);
    nap(delay_ns);
    (void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static bool is_stopped(false_daemon *f)
{
    pthread_mutex_lock(&f->lock);
    bool stops = f->stops;
    pthread_mutex_unlock(&f->lock);
    return stops;
}

static void *false_main(void *ctx)
{
    false_daemon *f = ctx;
    while (!is_stopped(f)) {
        int fd = accept4(f->listening, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            break;
        char request[64];
        ssize_t n;
        while ((n = recv(fd, request, sizeof(request) - 1, 0)) > 0) {
            request[n] = '\0';
            for (char *rest = request, *line; (line = strsep(&rest, "\n")) != NULL && *line != 0;)
                answer_one(f, fd, line);
        }
        close(fd);
    }
    return NULL;
}

static void false_start(false_daemon *f)
{
    memset(f, 0, sizeof(*f));
    tree_make(&f->tree);
    snprintf(f->socket, sizeof(f->socket), "%s/false.sock", f->tree.root);
    snprintf(f->spec, sizeof(f->spec), "meterd:%s", f->socket);
    f->tree.spec = f->spec;
    f->zones = one_zone;
    snprintf(f->reading, sizeof(f->reading), "read 1 1\n1000\n");
    pthread_mutex_init(&f->lock, NULL);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", f->socket);
    f->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f->listening, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(f->listening, 8), 0);
    assert_int_equal(pthread_create(&f->thread, NULL, false_main, f), 0);
}

static void false_end(false_daemon *f)
{
    pthread_mutex_lock(&f->lock);
    f->stops = true;
    pthread_mutex_unlock(&f->lock);
    shutdown(f->listening, SHUT_RDWR);
    pthread_join(f->thread, NULL);
    close(f->listening);
    pthread_mutex_destroy(&f->lock);
    tree_remove(&f->tree);
}

static void says(false_daemon *f, const char *zones, const char *reading, uint64_t delay_ns)
{
    pthread_mutex_lock(&f->lock);
    f->zones = zones;
    snprintf(f->reading, sizeof(f->reading), "%s", reading);
    f->delay_ns = delay_ns;
    pthread_mutex_unlock(&f->lock);
}

/* Until the meter has counted `uj`: readings of a daemon that must be scheduled first. */
static vd_reading read_until(false_daemon *f, vd_meter *meter, uint64_t uj)
{
    vd_reading r = read_after(&f->tree, meter, 1000000);
    for (int i = 0; i < 2000 && r.uj[VD_PART_CPU] != uj; i++) {
        nap(1000000);
        r = read_after(&f->tree, meter, 1000000);
    }
    assert_int_equal(r.uj[VD_PART_CPU], uj);
    return r;
}

static void a_late_answer_counts_later_and_does_not_hold_up_the_reader(void **state)
{
    false_daemon f;
    false_start(&f);
    vd_meter *meter = tree_meter(&f.tree);
    says(&f, one_zone, "read 2 1\n1500\n", 30000000);
    uint64_t begin = vd_now_ns(), best = UINT64_MAX;
    vd_reading r = read_after(&f.tree, meter, 1000000);
    best = vd_now_ns() - begin;
    assert_int_equal(r.uj[VD_PART_CPU], 0);
    assert_false(r.gap);
    assert_true(best < 25000000); /* 0.3 ms, and what a busy machine adds */
    says(&f, one_zone, "read 2 1\n1500\n", 0);
    read_until(&f, meter, 500);
    vd_meter_close(meter);
    false_end(&f);
}

static void a_silent_daemon_is_a_gap_after_a_tenth_of_a_second(void **state)
{
    false_daemon f;
    false_start(&f);
    vd_meter *meter = tree_meter(&f.tree);
    says(&f, one_zone, "", 0);
    (void)read_after(&f.tree, meter, 1000000);
    nap(120000000);
    vd_reading r = read_after(&f.tree, meter, 120000000);
    assert_true(r.gap);
    assert_int_equal(r.uj[VD_PART_CPU], 0);
    vd_meter_close(meter);
    false_end(&f);
}

static void nonsense_from_the_daemon_is_a_gap_and_never_a_figure(void **state)
{
    static const char *const nonsense[] = {
        "error tired\n",       "read 1 2\n5000\n6000\n", "read 1 1\n-5000\n", "read 1 1\n 5000\n",
        "read 1 1\n5000x\n",   "read x 1\n5000\n",       "read 1 1\n- 0\n",   "read 1 1\n- -5\n",
        "reads 1 1\n5000\n",   "read 1 1\n5000 1\n",     "\n",                "zones 1 1\na b 1\n",
        "read 1 1\n99999999999999999999999\n",
    };
    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        false_daemon f;
        false_start(&f);
        vd_meter *meter = tree_meter(&f.tree);
        says(&f, one_zone, nonsense[i], 0);
        bool gap = false;
        for (int k = 0; k < 500 && !gap; k++) {
            vd_reading r = read_after(&f.tree, meter, 1000000);
            assert_int_equal(r.uj[VD_PART_CPU], 0);
            gap = r.gap;
            nap(1000000);
        }
        assert_true(gap);
        says(&f, one_zone, "read 3 1\n1250\n", 0); /* and it recovers when sense comes back */
        read_until(&f, meter, 250);
        vd_meter_close(meter);
        false_end(&f);
    }
}

static void other_zones_after_a_reconnection_are_not_taken(void **state)
{
    false_daemon f;
    false_start(&f);
    vd_meter *meter = tree_meter(&f.tree);
    says(&f, "zones 1 1\nintel-rapl:7 package-7 262143328850\n", "read 1 1\n99000\n", 0);
    pthread_mutex_lock(&f.lock);
    f.hangs_up = true;
    pthread_mutex_unlock(&f.lock);
    vd_reading r = {0};
    for (int i = 0; i < 150; i++) {
        r = read_after(&f.tree, meter, 1000000);
        assert_int_equal(r.uj[VD_PART_CPU], 0);
        nap(1000000);
    }
    assert_true(r.gap);
    vd_meter_close(meter);
    false_end(&f);
}

static void a_zone_that_fails_in_the_daemon_is_missing_here(void **state)
{
    false_daemon f;
    false_start(&f);
    vd_meter *meter = tree_meter(&f.tree);
    says(&f, one_zone, "read 1 1\n- 19\n", 0);
    bool gap = false;
    for (int i = 0; i < 500 && !gap; i++) {
        gap = read_after(&f.tree, meter, 1000000).gap;
        nap(1000000);
    }
    assert_true(gap);
    assert_non_null(strstr(info_of(meter).last_gap, "No such device"));
    vd_meter_close(meter);
    false_end(&f);
}

static void what_cannot_be_opened_leaves_nothing_behind(void **state)
{
    static const char *const zones[] = {"error no\n", "zones 2 0\n", "zones 1 999\n",
                                        "zones 1 0\n", "zones 1 1\nx core 1\n"};
    uint64_t live = vd_alloc_stats_get().n_live;
    for (size_t i = 0; i < sizeof(zones) / sizeof(zones[0]); i++) {
        false_daemon f;
        vd_meter *meter = NULL;
        vd_err err = {0};
        false_start(&f);
        says(&f, zones[i], "read 1 1\n5\n", 0);
        vd_meter_options options = {.sysfs = f.tree.root, .spec = f.spec};
        assert_int_not_equal(vd_meter_open(&options, &meter, &err), VD_OK);
        assert_null(meter);
        assert_true(err.message[0] != '\0');
        assert_int_equal(vd_alloc_stats_get().n_live, live);
        says(&f, one_zone, "read 1 1\n5\n", 0);
        for (uint64_t k = 1; k < 6; k++) {
            vd_alloc_fail_at(k);
            if (vd_meter_open(&options, &meter, &err) == VD_OK)
                vd_meter_close(meter);
            vd_alloc_fail_at(0);
            assert_int_equal(vd_alloc_stats_get().n_live, live);
        }
        false_end(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_of_root_arrive_to_the_microjoule),
        cmocka_unit_test(a_killed_daemon_is_a_gap_and_its_successor_goes_on),
        cmocka_unit_test(without_a_daemon_a_named_meter_is_an_error_that_says_so),
        cmocka_unit_test(a_late_answer_counts_later_and_does_not_hold_up_the_reader),
        cmocka_unit_test(a_silent_daemon_is_a_gap_after_a_tenth_of_a_second),
        cmocka_unit_test(nonsense_from_the_daemon_is_a_gap_and_never_a_figure),
        cmocka_unit_test(other_zones_after_a_reconnection_are_not_taken),
        cmocka_unit_test(a_zone_that_fails_in_the_daemon_is_missing_here),
        cmocka_unit_test(what_cannot_be_opened_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
