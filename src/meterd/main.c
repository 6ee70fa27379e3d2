/* main.c - verdant-meterd: options, then the steps of meterd.h. See README.md. */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/log.h"
#include "meterd/meterd.h"

static const char help[] =
    "usage: verdant-meterd [--socket PATH] [--group NAME] [--mode OCTAL] [--user NAME]\n"
    "                      [--sysfs DIR]\n"
    "\n"
    "Reads the energy counters that the kernel shows to root alone, and hands their values out by\n"
    "a Unix socket, so that `verdant serve` need not be root. Opens the counters and the socket,\n"
    "then gives up root, all capabilities and nearly all system calls. Stops on SIGTERM.\n"
    "\n"
    "  --socket PATH   where it listens; default /run/verdant/meterd.sock\n"
    "  --group NAME    group of the socket: who may read; default: the group it runs as\n"
    "  --mode OCTAL    mode of the socket; default 0660\n"
    "  --user NAME     who it becomes when started as root; default nobody\n"
    "  --sysfs DIR     another root than /sys, for tests\n"
    "  --help, --version\n"
    "\n"
    "Fine-grained energy readings tell others what is computed (CVE-2020-8694): give the group to\n"
    "those who may know. docs/meters.md has the protocol.\n"
    "\n"
    "Example:\n"
    "  sudo verdant-meterd --group verdant\n"
    "  VERDANT_METER=meterd verdant doctor\n";

static bool misuse(const char *what, const char *value)
{
    fprintf(stderr, "verdant-meterd: %s%s; see verdant-meterd --help\n", what, value);
    return false;
}

static bool parse_group(const char *name, vd_meterd_options *o)
{
    const struct group *group = getgrnam(name);
    if (group == NULL)
        return misuse("there is no group ", name);
    o->group = group->gr_gid;
    o->has_group = true;
    return true;
}

static bool parse_user(const char *name, vd_meterd_options *o)
{
    const struct passwd *user = getpwnam(name);
    if (user == NULL)
        return misuse("there is no user ", name);
    if (user->pw_uid == 0)
        return misuse("--user must not be root", "");
    o->user = user->pw_uid;
    o->user_group = user->pw_gid;
    return true;
}

static bool parse_mode(const char *text, vd_meterd_options *o)
{
    char *end;
    unsigned long mode = strtoul(text, &end, 8);
    if (end == text || *end != '\0' || mode > 0777)
        return misuse("--mode takes three or four octal digits, not ", text);
    o->mode = (mode_t)mode;
    return true;
}

/* One option and its value; false after saying what is wrong. */
static bool take(const char *name, const char *value, vd_meterd_options *o)
{
    if (strcmp(name, "--socket") == 0)
        o->socket = value;
    else if (strcmp(name, "--sysfs") == 0)
        o->sysfs = value;
    else if (strcmp(name, "--group") == 0)
        return parse_group(value, o);
    else if (strcmp(name, "--mode") == 0)
        return parse_mode(value, o);
    else
        return parse_user(value, o);
    return true;
}

static bool parse(int argc, char **argv, vd_meterd_options *o)
{
    static const char *const known[] = {"--socket", "--sysfs", "--group", "--mode", "--user"};
    for (int i = 1; i < argc; i += 2) {
        bool is_known = false;
        for (size_t k = 0; k < VD_COUNT(known); k++)
            is_known |= strcmp(argv[i], known[k]) == 0;
        if (!is_known)
            return misuse("this is not understood: ", argv[i]);
        if (i + 1 == argc)
            return misuse("a value is missing behind ", argv[i]);
        if (!take(argv[i], argv[i + 1], o))
            return false;
    }
    return true;
}

static vd_status run(const vd_meterd_options *o, vd_err *err)
{
    static vd_meterd_counters counters;
    int listening = -1;
    vd_status st = vd_meterd_counters_open(o->sysfs, &counters, err);
    if (st == VD_OK)
        st = vd_meterd_listen(o, &listening, err);
    if (st != VD_OK)
        return st;
    vd_log(VD_LOG_INFO, "meterd", "started socket=%s zones=%zu", o->socket, counters.n);
    vd_meterd_catch_signals();
    st = vd_meterd_confine(o, err);
    if (st == VD_OK)
        st = vd_meterd_serve(listening, &counters, err);
    (void)unlink(o->socket); /* may fail without root: the next start removes it */
    if (st == VD_OK)
        vd_log(VD_LOG_INFO, "meterd", "stopped");
    return st;
}

int main(int argc, char **argv)
{
    vd_meterd_options options = {
        .socket = VD_METERD_SOCKET, .sysfs = "/sys", .mode = 0660, .user = 65534,
        .user_group = 65534};
    vd_err err = {0};
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help, stdout);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("verdant-meterd " VD_VERSION);
        return 0;
    }
    if (!parse(argc, argv, &options))
        return 2;
    if (run(&options, &err) != VD_OK) {
        fprintf(stderr, "verdant-meterd: %s\n", err.message);
        return 1;
    }
    return 0;
}
