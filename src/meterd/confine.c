/*
 * confine.c - gives up everything but open descriptors and the system calls of the loop.
 *
 * The order matters: the bounding set needs CAP_SETPCAP, groups go before the user, and the filter
 * of system calls comes last. A call outside the list fails with EPERM; it does not kill, since a C
 * library may try one and do without.
 */
#include <errno.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/fail.h"
#include "base/log.h"
#include "meterd/meterd.h"

static vd_status fail_step(const char *step, vd_err *err)
{
    return VD_FAIL(err, VD_ERR_PERM, "%s: %s", step, strerror(errno));
}

static vd_status drop_user(const vd_meterd_options *o, vd_err *err)
{
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); /* may lack CAP_SETPCAP in a container */
    if (setgroups(0, NULL) != 0)
        return fail_step("giving up groups", err);
    if (setresgid(o->user_group, o->user_group, o->user_group) != 0)
        return fail_step("giving up the group", err);
    if (setresuid(o->user, o->user, o->user) != 0)
        return fail_step("giving up root", err);
    if (setresuid(0, 0, 0) == 0)
        return VD_FAIL(err, VD_ERR_PERM, "root could be taken back");
    return VD_OK;
}

static vd_status drop_capabilities(vd_err *err)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) != 0)
        return fail_step("giving up capabilities", err);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail_step("giving up new privileges", err);
    return VD_OK;
}

/* A sanitizer's end of the process starts threads and reads /proc: its builds have no filter. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED 0
#endif

#if SANITIZED
#elif defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

#ifdef FILTER_ARCH
/* What the loop, the log and the end of the process need. */
static const unsigned allowed[] = {
    SYS_read,          SYS_pread64,    SYS_write,        SYS_close,      SYS_ppoll,
    SYS_accept4,       SYS_recvfrom,   SYS_sendto,       SYS_getsockopt, SYS_fstat,
    SYS_newfstatat,    SYS_unlinkat,   SYS_getpid,       SYS_gettid,     SYS_exit,
    SYS_exit_group,    SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_clock_gettime, SYS_brk,
    SYS_mmap,          SYS_munmap,     SYS_restart_syscall, SYS_futex,   SYS_tgkill,
    SYS_writev,
#ifdef SYS_unlink
    SYS_unlink,
#endif
};

static vd_status filter_calls(vd_err *err)
{
    enum { N = VD_COUNT(allowed) };
    struct sock_filter code[N + 6];
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    code[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < N; i++)
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
                                                 (unsigned char)(N - i), 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = (unsigned short)n, .filter = code};
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0)
        return VD_OK;
    if (errno != EINVAL)
        return fail_step("filtering system calls", err);
    vd_log(VD_LOG_WARN, "meterd", "this kernel filters no system calls");
    return VD_OK;
}
#else
static vd_status filter_calls(vd_err *err)
{
    (void)err;
    vd_log(VD_LOG_WARN, "meterd", "this build filters no system calls");
    return VD_OK; /* no list for this architecture, or a sanitizer's build */
}
#endif

vd_status vd_meterd_confine(const vd_meterd_options *options, vd_err *err)
{
    vd_status st = geteuid() == 0 ? drop_user(options, err) : VD_OK;
    if (st == VD_OK)
        st = drop_capabilities(err);
    return st == VD_OK ? filter_calls(err) : st;
}
