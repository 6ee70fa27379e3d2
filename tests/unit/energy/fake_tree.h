/*
 * fake_tree.h - powercap trees in a temporary directory, a clock and a CPU clock for the tests.
 * The layouts follow the kernel's Documentation/power/powercap/powercap.rst.
 */
#ifndef TESTS_ENERGY_FAKE_TREE_H
#define TESTS_ENERGY_FAKE_TREE_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "energy/meter.h"

#define PACKAGE_RANGE UINT64_C(262143328850)
#define DRAM_RANGE UINT64_C(65712999613)
#define SECOND UINT64_C(1000000000)

typedef struct fake_tree {
    char root[64];
    uint64_t now_ns, cpu_ns;
    const char *denied; /* zones whose id contains this are EACCES */
    const char *spec;   /* of the meter; NULL: auto */
} fake_tree;

static inline void tree_make(fake_tree *tree)
{
    *tree = (fake_tree){.now_ns = 5 * SECOND};
    snprintf(tree->root, sizeof(tree->root), "/tmp/verdant-sys-XXXXXX");
    assert_non_null(mkdtemp(tree->root));
    setenv("VERDANT_METERD", "/nonexistent/meterd.sock", 1); /* not this machine's daemon */
}

static inline int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

static inline void tree_remove(fake_tree *tree)
{
    nftw(tree->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void make_path(const char *path)
{
    char part[512];
    snprintf(part, sizeof(part), "%s", path);
    for (char *p = part + 1; *p != '\0'; p++)
        if (*p == '/') {
            *p = '\0';
            mkdir(part, 0755);
            *p = '/';
        }
    mkdir(part, 0755);
}

/* Writes root/path with its folders. */
static inline void tree_file(const fake_tree *tree, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof(full), "%s/%s", tree->root, path);
    char *slash = strrchr(full, '/');
    *slash = '\0';
    make_path(full);
    *slash = '/';
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline void zone_file(const fake_tree *tree, const char *id, const char *file,
                             const char *text)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/class/powercap/%s", tree->root, id);
    make_path(path);
    snprintf(path, sizeof(path), "%s/class/powercap/%s/%s", tree->root, id, file);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static inline void zone_set(const fake_tree *tree, const char *id, uint64_t uj)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRIu64 "\n", uj);
    zone_file(tree, id, "energy_uj", text);
}

static inline void zone_add(const fake_tree *tree, const char *id, const char *name,
                            uint64_t range_uj, uint64_t uj)
{
    char text[48];
    snprintf(text, sizeof(text), "%s\n", name);
    zone_file(tree, id, "name", text);
    snprintf(text, sizeof(text), "%" PRIu64 "\n", range_uj);
    zone_file(tree, id, "max_energy_range_uj", text);
    zone_set(tree, id, uj);
}

static inline void zone_delete(const fake_tree *tree, const char *id)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/class/powercap/%s/energy_uj", tree->root, id);
    assert_int_equal(unlink(path), 0);
}

static inline uint64_t tree_now(void *ctx)
{
    return ((fake_tree *)ctx)->now_ns;
}

static inline uint64_t tree_cpu(void *ctx)
{
    return ((fake_tree *)ctx)->cpu_ns;
}

static inline int tree_open(void *ctx, const char *path)
{
    const fake_tree *tree = ctx;
    if (tree->denied != NULL && strstr(path, tree->denied) != NULL) {
        errno = EACCES;
        return -1;
    }
    return open(path, O_RDONLY | O_CLOEXEC);
}

static inline vd_meter *tree_meter(fake_tree *tree)
{
    vd_meter_options options = {.sysfs = tree->root,
                                .spec = tree->spec != NULL ? tree->spec : "auto",
                                .now_ns = tree_now,
                                .cpu_ns = tree_cpu,
                                .open_file = tree_open,
                                .ctx = tree};
    vd_meter *meter = NULL;
    vd_err err = {0};
    assert_int_equal(vd_meter_open(&options, &meter, &err), VD_OK);
    return meter;
}

static inline vd_reading read_after(fake_tree *tree, vd_meter *meter, uint64_t ns)
{
    tree->now_ns += ns;
    vd_reading reading;
    vd_meter_read(meter, &reading);
    return reading;
}

static inline vd_meter_info info_of(const vd_meter *meter)
{
    vd_meter_info info;
    vd_meter_info_get(meter, &info);
    return info;
}

static inline vd_rapl_use use_of(const vd_meter_info *info, const char *id)
{
    for (size_t i = 0; i < info->n_zones; i++)
        if (strcmp(info->zone[i].id, id) == 0)
            return info->zone[i].use;
    fail_msg("no zone %s", id);
    return VD_RAPL_OTHER;
}

/* A server with two sockets: two packages, two zones named dram. */
static inline void make_server(fake_tree *tree)
{
    tree_make(tree);
    zone_add(tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1000);
    zone_add(tree, "intel-rapl:0:0", "core", PACKAGE_RANGE, 500);
    zone_add(tree, "intel-rapl:0:1", "dram", DRAM_RANGE, 70);
    zone_add(tree, "intel-rapl:1", "package-1", PACKAGE_RANGE, 2000);
    zone_add(tree, "intel-rapl:1:0", "core", PACKAGE_RANGE, 900);
    zone_add(tree, "intel-rapl:1:1", "dram", DRAM_RANGE, 80);
}

#endif
