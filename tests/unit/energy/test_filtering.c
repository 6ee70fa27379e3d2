/* test_filtering.c - what a program can know of Intel's energy filtering. */
#include "fake_tree.h"

#include "energy/rapl/filtering.h"

static void put_msr(const fake_tree *tree, uint64_t capabilities, uint64_t controls)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/msr", tree->root);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_int_equal(pwrite(fd, &capabilities, 8, 0x10a), 8);
    assert_int_equal(pwrite(fd, &controls, 8, 0xbc), 8);
    close(fd);
}

static const char modalias[] = "devices/system/cpu/modalias";
static const char intel[] = "cpu:type:x86,ven0000fam0006mod006A:feature:,0000,0123,0222\n";
static const char sgx[] = "cpu:type:x86,ven0000fam0006mod006A:feature:,0000,0122,0123\n";
static const char amd[] = "cpu:type:x86,ven0002fam0019mod0011:feature:,0000,0122\n";

static vd_filtering find(fake_tree *tree, const char *text)
{
    char msr[128];
    tree_file(tree, modalias, text);
    snprintf(msr, sizeof(msr), "%s/msr", tree->root);
    return vd_filtering_find(tree->root, msr, tree_open, tree);
}

static void only_what_can_be_known_is_said(void **state)
{
    fake_tree tree;
    tree_make(&tree);
    assert_int_equal(find(&tree, intel), VD_FILTERING_UNKNOWN);
    assert_int_equal(find(&tree, sgx), VD_FILTERING_LIKELY);
    assert_int_equal(find(&tree, amd), VD_FILTERING_NONE);
    assert_int_equal(find(&tree, ""), VD_FILTERING_NONE);
    assert_int_equal(find(&tree, "cpu:type:aarch64:feature:,0122\n"), VD_FILTERING_NONE);

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

static void counters_that_may_be_filtered_are_less_sure(void **state)
{
    static const struct {
        const char *modalias;
        double pct, common_pct, independent_pct;
    } cases[] = {{intel, 5, 5, 0}, {amd, 5, 5, 0}, {sgx, 49.75, 35.36, 35}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_tree tree;
        tree_make(&tree);
        tree_file(&tree, modalias, cases[i].modalias);
        zone_add(&tree, "intel-rapl:0", "package-0", PACKAGE_RANGE, 1);
        zone_add(&tree, "intel-rapl:0:0", "dram", DRAM_RANGE, 1);
        vd_meter *meter = tree_meter(&tree);
        vd_meter_info info = info_of(meter);
        assert_string_equal(info.method, "rapl");
        assert_float_equal(info.uncertainty_pct, cases[i].pct, 0.01);
        assert_float_equal(info.common_pct, cases[i].common_pct, 0.01);
        assert_float_equal(info.independent_pct, cases[i].independent_pct, 0.01);
        vd_meter_close(meter);
        tree_remove(&tree);
    }
}

static void the_model_is_not_filtered(void **state)
{
    fake_tree tree;
    double pct[2];
    for (int i = 0; i < 2; i++) {
        tree_make(&tree);
        tree_file(&tree, modalias, i == 0 ? intel : sgx);
        vd_meter *meter = tree_meter(&tree);
        pct[i] = info_of(meter).uncertainty_pct;
        vd_meter_close(meter);
        tree_remove(&tree);
    }
    assert_true(pct[0] == pct[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_can_be_known_is_said),
        cmocka_unit_test(counters_that_may_be_filtered_are_less_sure),
        cmocka_unit_test(the_model_is_not_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
