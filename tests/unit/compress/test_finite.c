/* test_finite.c - the weight that is no number is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "compress/finite.h"
#include "tiny_model.h"

static void finite_weights_and_short_memory_are_said(void **state)
{
    char path[64];
    vd_gguf *gguf = NULL;
    vd_err err = {0};
    uint64_t live = vd_alloc_stats_get().n_live;
    snprintf(path, sizeof(path), "/tmp/verdant-finite-%d.gguf", (int)getpid());
    tiny_write(path, 3, "llama");
    assert_int_equal(vd_gguf_open(path, NULL, &gguf, &err), VD_OK);
    unlink(path);
    assert_int_equal(vd_finite_fail(gguf, "layer 3", &err), VD_ERR_FORMAT);
    assert_non_null(strstr(err.message, "layer 3 computes what is no number"));
    vd_alloc_fail_at(1);
    assert_int_equal(vd_finite_fail(gguf, "layer 3", &err), VD_ERR_NOMEM);
    vd_alloc_fail_at(0);
    vd_gguf_free(gguf);
    assert_int_equal(vd_alloc_stats_get().n_live, live);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finite_weights_and_short_memory_are_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
