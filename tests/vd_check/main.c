/*
 * main.c - vd_check: every entry of the kernel table at every level this machine has, against plain
 * C (after dav1d's checkasm).
 *
 * Exit status: 1 where a check fails, 77 where this machine lacks the level asked for. --help tells
 * the options.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"
#include "check.h"
#include "common.h"

static const char *const levels[] = {"c", "c-packed", "avx2", "avxvnni", "avxvnni-evex",
                                     "avx512", "avx512-vbmi2", "avx512-bf16", "amx-emulated",
                                     "amx", "neon", "dotprod", "i8mm"};
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

static bool same_quantize(const vd_kernels *a, const vd_kernels *b)
{
    return a->quantize_row == b->quantize_row && a->store_kv == b->store_kv;
}

static bool same_elementwise(const vd_kernels *a, const vd_kernels *b)
{
    return a->add == b->add && a->silu_mul == b->silu_mul && a->gelu_mul == b->gelu_mul &&
           a->gelu == b->gelu;
}

static bool same_norm_rope(const vd_kernels *a, const vd_kernels *b)
{
    return a->rms_norm == b->rms_norm && a->layer_norm == b->layer_norm && a->rope == b->rope;
}

static bool same_attn(const vd_kernels *a, const vd_kernels *b)
{
    return a->attn == b->attn && a->attn_many == b->attn_many;
}

static bool same_rows(const vd_kernels *a, const vd_kernels *b)
{
    return a->linear_rows == b->linear_rows && a->dot_row == b->dot_row;
}

static bool same_packed(const vd_kernels *a, const vd_kernels *b)
{
    return a->layout_for == b->layout_for && a->packed_bytes == b->packed_bytes &&
           a->pack == b->pack && a->linear_packed == b->linear_packed && same_quantize(a, b);
}

static bool same_sparse(const vd_kernels *a, const vd_kernels *b)
{
    return a->sparse_pack == b->sparse_pack && a->sparse_expand == b->sparse_expand &&
           a->sparse_linear == b->sparse_linear &&
           same_packed(a, b);
}

static bool same_panel(const vd_kernels *a, const vd_kernels *b)
{
    return a->round_row == b->round_row && a->panel_unpack == b->panel_unpack &&
           a->panel_product == b->panel_product && a->panel_direct == b->panel_direct;
}

static bool same_fit(const vd_kernels *a, const vd_kernels *b)
{
    return a->fit_sums == b->fit_sums && a->fit_errors == b->fit_errors;
}

/* What is checked together, and whether two tables have the very same functions for it. */
static const struct {
    void (*check)(const vd_kernels *k);
    bool (*same)(const vd_kernels *a, const vd_kernels *b);
} parts[] = {
    {check_quantize, same_quantize},   {check_elementwise, same_elementwise},
    {check_norm_rope, same_norm_rope}, {check_attn, same_attn},
    {check_linear_rows, same_rows},    {check_linear_packed, same_packed},
    {check_sparse, same_sparse},       {check_panel, same_panel},
    {check_fit, same_fit},
};

/* All but what one of the n tables `before` it has too, which has been checked. */
static void check_level(const vd_kernels *k, const vd_kernels *const *before, size_t n)
{
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        bool done = false;
        for (size_t b = 0; b < n && !done; b++)
            done = parts[i].same(before[b], k);
        if (!done)
            parts[i].check(k);
    }
}

/* VERDANT_CPU must have its effect on the table that the program takes. */
static void check_mask(void)
{
    const char *mask = getenv("VERDANT_CPU");
    if (mask != NULL && vd_kernels_level(mask) != NULL)
        check_expect(vd_kernels_get() == vd_kernels_level(mask), "VERDANT_CPU=%s gives %s", mask,
                     vd_kernels_get()->name);
}

static const vd_kernels *table_of(const char *name)
{
    const vd_kernels *k = vd_kernels_level(name);
    return k != NULL ? k : check_twin(name);
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

static const char usage[] =
    "usage: vd_check [--seed=N] [--level=NAME] [--quick]\n"
    "       vd_check --bench[=FILTER] [--level=NAME] [--tokens=T] [--shape=NxK] [--mb=N]\n"
    "               [--keep=PERCENT]\n"
    "\n"
    "Checks every kernel at every level of this machine against plain C, or times them. What a\n"
    "level has unchanged from one below it is checked once.\n"
    "\n"
    "  --seed=N        of the random data; the clock gives one else\n"
    "  --level=NAME    only this level of VERDANT_CPU, or c-packed, or avxvnni-evex: AVX-VNNI's\n"
    "                  products in the encoding of AVX-512, for machines without AVX-VNNI; exit\n"
    "                  status 77 where the machine lacks it\n"
    "  --quick         fewer combinations: still each entry, type, length and tail\n"
    "  --bench=FILTER  times what holds FILTER in its name, such as \"packed Q4_K\". Products:\n"
    "                  one line per kind, type and shape of weights, GOP/s for each number of\n"
    "                  tokens with the percentage of what a loop over registers reaches with\n"
    "                  the same instruction, GB/s of weights for one token. rows: f32\n"
    "                  activations; packed: int8; wide: two int8, whose two products count as\n"
    "                  one in GOP/s; sparse: weights in that form. One thread.\n"
    "  --tokens=T      only T rows of activations, not 1, 4, 8, 16, 64 and 512\n"
    "  --shape=NxK     only weights of N rows and K columns\n"
    "  --keep=PERCENT  of sparse weights, how many are not zero; default 50\n"
    "  --mb=N          rotates over copies of the weights of N MB in all, so that they come\n"
    "                  from memory and not from a cache\n";

int main(int argc, char **argv)
{
    const char *only = NULL, *value;
    bench_options options = {.filter = "", .keep_percent = 50};
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
        } else if (strcmp(argv[i], "--quick") == 0) {
            check_globals.quick = true;
        } else if ((value = value_of(argv[i], "--mb")) != NULL) {
            options.footprint_mb = (size_t)strtoull(value, NULL, 10);
        } else if ((value = value_of(argv[i], "--keep")) != NULL) {
            options.keep_percent = (unsigned)strtoul(value, NULL, 10);
        } else if ((value = value_of(argv[i], "--tokens")) != NULL) {
            options.n_tokens = (size_t)strtoull(value, NULL, 10);
        } else if ((value = value_of(argv[i], "--shape")) != NULL &&
                   sscanf(value, "%zux%zu", &options.n_rows, &options.n_cols) == 2) {
            continue;
        } else if (strcmp(argv[i], "--bench") == 0) {
            bench = true;
        } else if ((value = value_of(argv[i], "--bench")) != NULL) {
            bench = true;
            options.filter = value;
        } else {
            bool help = strcmp(argv[i], "--help") == 0;
            (void)fputs(usage, help ? stdout : stderr);
            return help ? 0 : 2;
        }
    }
    if (only != NULL && table_of(only) == NULL) {
        printf("skipped: this machine has no %s\n", only);
        return 77;
    }
    (void)signal(SIGSEGV, on_fault);
    (void)signal(SIGBUS, on_fault);
    printf("seed %" PRIu64 ", this machine runs %s\n", check_globals.seed, vd_kernels_get()->name);
    check_mask();
    const vd_kernels *checked[N_LEVELS];
    size_t n_checked = 0;
    for (size_t i = 0; i < N_LEVELS; i++) {
        const vd_kernels *k = table_of(levels[i]);
        if (k == NULL || (only != NULL && strcmp(only, levels[i]) != 0))
            continue;
        if (bench) {
            bench_all(k, &options);
            continue;
        }
        size_t passed = check_globals.n_passed, failed = check_globals.n_failed;
        check_level(k, checked, n_checked);
        checked[n_checked++] = k;
        printf("%-12s %zu passed, %zu failed\n", k->name, check_globals.n_passed - passed,
               check_globals.n_failed - failed);
    }
    if (!bench)
        printf("%zu checks passed, %zu failed\n", check_globals.n_passed, check_globals.n_failed);
    return check_globals.n_failed != 0;
}
