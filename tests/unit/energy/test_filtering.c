/* test_filtering.c - what a program can know of Intel's energy filtering. */
#include "fake_tree.h"

#include "energy/filtering.h"

static void put_msr(const fake_tree *tree, uint64_t capabilities, uint64_t controls)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/msr", tree->root);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(pwrite(fd, &capabilities, 8, 0x10a), 8);
    assert_int_equal(pwrite(fd, &controls, 8, 0xbc), 8);
    close(fd);
}

static vd_filtering find(fake_tree *tree, const char *cpuinfo)
{
    char cpuinfo_path[128], msr[128];
    tree_file(tree, "cpuinfo", cpuinfo);
    snprintf(cpuinfo_path, sizeof(cpuinfo_path), "%s/cpuinfo", tree->root);
    snprintf(msr, sizeof(msr), "%s/msr", tree->root);
    return vd_filtering_find(cpuinfo_path, msr, tree_open, tree);
}

static void only_what_can_be_known_is_said(void **state)
{
    static const char intel[] =
        "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu sgx_lc\n";
    static const char sgx[] = "vendor_id\t: GenuineIntel\nflags\t\t: fpu sgx sgx_lc\n";
    static const char amd[] = "vendor_id\t: AuthenticAMD\nflags\t\t: fpu sgx\n";
    fake_tree tree;
    tree_make(&tree);
    assert_int_equal(find(&tree, intel), VD_FILTERING_UNKNOWN);
    assert_int_equal(find(&tree, sgx), VD_FILTERING_LIKELY);
    assert_int_equal(find(&tree, amd), VD_FILTERING_NONE);
    assert_int_equal(find(&tree, ""), VD_FILTERING_NONE);
    assert_int_equal(find(&tree, "vendor_id"), VD_FILTERING_NONE);

    put_msr(&tree, UINT64_C(1) << 11, 1);
    assert_int_equal(find(&tree, intel), VD_FILTERING_ON);
    put_msr(&tree, UINT64_C(1) << 11, 0);
    assert_int_equal(find(&tree, intel), VD_FILTERING_NONE);
    assert_int_equal(find(&tree, sgx), VD_FILTERING_LIKELY); /* SGX does it without the bit */
    put_msr(&tree, 0, 1); /* the bit means nothing there */
    assert_int_equal(find(&tree, intel), VD_FILTERING_UNKNOWN);
    put_msr(&tree, UINT64_C(1) << 11, 1);
    tree.denied = "msr";
    assert_int_equal(find(&tree, intel), VD_FILTERING_UNKNOWN);
    assert_int_equal(find(&tree, amd), VD_FILTERING_NONE);
    tree_remove(&tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_can_be_known_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
