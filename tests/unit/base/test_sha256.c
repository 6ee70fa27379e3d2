/* test_sha256.c - the examples of FIPS 180-4 and NIST's long message; any cut gives the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"

static void check(const char *text, size_t n, const char *expected)
{
    for (size_t cut = 0; cut <= n; cut++) {
        vd_sha256 sha;
        char hex[VD_SHA256_HEX + 1];
        vd_sha256_init(&sha);
        vd_sha256_add(&sha, text, cut);
        vd_sha256_add(&sha, text + cut, n - cut);
        vd_sha256_end(&sha, hex);
        assert_string_equal(hex, expected);
    }
}

static void known_messages_have_their_digest(void **state)
{
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    check("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check(two_blocks, strlen(two_blocks),
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void a_million_letters_have_their_digest(void **state)
{
    vd_sha256 sha;
    char hex[VD_SHA256_HEX + 1], letters[1000];
    memset(letters, 'a', sizeof(letters));
    vd_sha256_init(&sha);
    for (int i = 0; i < 1000; i++)
        vd_sha256_add(&sha, letters, sizeof(letters));
    vd_sha256_end(&sha, hex);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void a_file_that_is_not_there_is_an_error(void **state)
{
    char hex[VD_SHA256_HEX + 1];
    vd_err err = {0};
    assert_int_equal(vd_sha256_file("/nonexistent/file", hex, &err), VD_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_messages_have_their_digest),
        cmocka_unit_test(a_million_letters_have_their_digest),
        cmocka_unit_test(a_file_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
