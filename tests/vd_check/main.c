/*
 * main.c - vd_check: every entry of the kernel table at every level this machine has, against plain
 * C (after dav1d's checkasm).
 *
 *   vd_check [--seed=N] [--level=NAME]                 checks; exit 1 where one fails, 77 where
 *                                                      this machine lacks the level
 *   vd_check --bench[=FILTER] [--level=NAME] [--mb=N]  times
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"
#include "common.h"

static const char *const levels[] = {"c", "c-packed", "avx2", "avx512"};
enum { N_LEVELS = sizeof levels / sizeof levels[0] };

/* A guard page was hit: say by whom, and end. */
static void on_fault(int signal_number)
{
    static const char before[] = "FAILED: touched memory past its arguments: ";
    const char *current = check_current(); /* NOLINT(bugprone-signal-handler): reads a pointer */
    ssize_t n = write(STDERR_FILENO, before, sizeof before - 1);
    n += write(STDERR_FILENO, current, strlen(current));
    n += write(STDERR_FILENO, "\n", 1);
    _exit(n > 0 ? 1 : 3);
}

static void check_level(const vd_kernels *k)
{
    check_quantize(k);
    check_elementwise(k);
    check_norm_rope(k);
    check_attn(k);
    check_linear_rows(k);
    check_linear_packed(k);
}

/* VERDANT_CPU must have its effect on the table that the program takes. */
static void check_mask(void)
{
    const char *mask = getenv("VERDANT_CPU");
    if (mask != NULL && vd_kernels_level(mask) != NULL)
        check_expect(vd_kernels_get() == vd_kernels_level(mask), "VERDANT_CPU=%s gives %s", mask,
                     vd_kernels_get()->name);
}

static bool is_level(const char *name)
{
    for (size_t i = 0; i < N_LEVELS; i++)
        if (strcmp(levels[i], name) == 0)
            return true;
    return false;
}

static const char *value_of(const char *arg, const char *name)
{
    size_t n = strlen(name);
    return strncmp(arg, name, n) == 0 && arg[n] == '=' ? arg + n + 1 : NULL;
}

int main(int argc, char **argv)
{
    const char *only = NULL, *filter = "", *value;
    size_t footprint_mb = 0;
    bool bench = false;

    check_globals.seed = vd_wall_ns();
    for (int i = 1; i < argc; i++) {
        if ((value = value_of(argv[i], "--seed")) != NULL) {
            check_globals.seed = strtoull(value, NULL, 10);
        } else if ((value = value_of(argv[i], "--level")) != NULL) {
            only = is_level(value) ? value : NULL;
            if (only == NULL) {
                fprintf(stderr, "vd_check: there is no level %s\n", value);
                return 2;
            }
        } else if ((value = value_of(argv[i], "--mb")) != NULL) {
            footprint_mb = (size_t)strtoull(value, NULL, 10);
        } else if (strcmp(argv[i], "--bench") == 0) {
            bench = true;
        } else if ((value = value_of(argv[i], "--bench")) != NULL) {
            bench = true;
            filter = value;
        } else {
            fprintf(stderr, "usage: vd_check [--seed=N] [--level=NAME] [--bench[=FILTER]] "
                            "[--mb=N]\n");
            return 2;
        }
    }
    if (only != NULL && vd_kernels_level(only) == NULL) {
        printf("skipped: this machine has no %s\n", only);
        return 77;
    }
    (void)signal(SIGSEGV, on_fault);
    (void)signal(SIGBUS, on_fault);
    printf("seed %" PRIu64 ", this machine runs %s\n", check_globals.seed, vd_kernels_get()->name);
    check_mask();
    for (size_t i = 0; i < N_LEVELS; i++) {
        const vd_kernels *k = vd_kernels_level(levels[i]);
        if (k == NULL || (only != NULL && strcmp(only, levels[i]) != 0))
            continue;
        if (bench) {
            bench_all(k, filter, footprint_mb);
            continue;
        }
        size_t passed = check_globals.n_passed, failed = check_globals.n_failed;
        check_level(k);
        printf("%-8s %zu passed, %zu failed\n", k->name, check_globals.n_passed - passed,
               check_globals.n_failed - failed);
    }
    if (!bench)
        printf("%zu checks passed, %zu failed\n", check_globals.n_passed, check_globals.n_failed);
    return check_globals.n_failed != 0;
}
