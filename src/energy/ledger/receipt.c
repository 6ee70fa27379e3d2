/* receipt.c - see receipt.h. */
#include "energy/ledger/receipt.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/fail.h"
#include "base/file.h"

enum {
    SEED = crypto_sign_SEEDBYTES,
    PUBLIC = crypto_sign_PUBLICKEYBYTES,
    SIGNATURE = crypto_sign_BYTES,
    BASE64_MAX = 96, /* of any of them */
    FILE_MAX = 1024
};
static const int64_t whole_max = INT64_C(9007199254740991); /* 2^53 - 1 */

struct vd_receipt_key {
    unsigned char secret[crypto_sign_SECRETKEYBYTES];
    char public_key[BASE64_MAX];
};

static void to_base64(const unsigned char *bytes, size_t n, char text[BASE64_MAX])
{
    sodium_bin2base64(text, BASE64_MAX, bytes, n, sodium_base64_VARIANT_ORIGINAL);
}

/* Exactly n bytes, and exactly one way to write them. */
static bool from_base64(const char *text, unsigned char *bytes, size_t n)
{
    size_t got = 0;
    const char *end = NULL;
    return text != NULL &&
           sodium_base642bin(bytes, n, text, strlen(text), NULL, &got, &end,
                             sodium_base64_VARIANT_ORIGINAL) == 0 &&
           got == n && *end == '\0';
}

/* ---- the key's file --------------------------------------------------------------------------*/

static vd_status write_new(const char *path, mode_t mode, const char *text, vd_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return VD_FAIL(err, errno == EACCES || errno == EROFS ? VD_ERR_PERM : VD_ERR_IO,
                       "%s: cannot be made: %s", path, strerror(errno));
    size_t n = strlen(text);
    bool good = write(fd, text, n) == (ssize_t)n && fsync(fd) == 0;
    if (close(fd) != 0 || !good) {
        unlink(path);
        return VD_FAIL(err, VD_ERR_IO, "%s: cannot be written", path);
    }
    return VD_OK;
}

/* A new key under its name: never half a file, and where two processes make one, both get the
 * same. */
static vd_status make_key(const char *folder, const char *path, vd_err *err)
{
    unsigned char seed[SEED], secret[crypto_sign_SECRETKEYBYTES], public_key[PUBLIC];
    char text[BASE64_MAX + 1], *temp = NULL, *pub = NULL;
    vd_buf name;
    vd_buf_init(&name, 4096);
    vd_status st = vd_make_dirs(folder, err);
    if (st != VD_OK)
        return st;
    vd_buf_printf(&name, "%s/.receipt.%ld", folder, (long)getpid());
    temp = vd_buf_take(&name);
    vd_buf_printf(&name, "%s/receipt.pub", folder);
    pub = vd_buf_take(&name);
    randombytes_buf(seed, sizeof(seed));
    crypto_sign_seed_keypair(public_key, secret, seed);
    to_base64(seed, sizeof(seed), text);
    strncat(text, "\n", 2);
    if (temp == NULL || pub == NULL)
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a path");
    if (st == VD_OK) {
        unlink(temp); /* of a process of this number that was killed */
        st = write_new(temp, 0600, text, err);
    }
    bool linked = st == VD_OK && link(temp, path) == 0;
    if (st == VD_OK && !linked && errno != EEXIST)
        st = VD_FAIL(err, VD_ERR_IO, "%s: cannot be made: %s", path, strerror(errno));
    if (linked) {
        to_base64(public_key, sizeof(public_key), text);
        strncat(text, "\n", 2);
        (void)!write_new(pub, 0644, text, NULL); /* for people; `verdant energy key` prints it */
    }
    if (temp != NULL)
        unlink(temp);
    sodium_memzero(seed, sizeof(seed));
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(text, sizeof(text));
    vd_free(temp);
    vd_free(pub);
    return st;
}

static vd_status read_key(const char *path, vd_receipt_key *key, vd_err *err)
{
    struct stat about;
    char text[FILE_MAX] = "";
    unsigned char seed[SEED], public_key[PUBLIC];
    vd_status st = VD_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (fd < 0)
        return VD_FAIL(err, errno == ENOENT ? VD_ERR_NOT_FOUND : VD_ERR_PERM, "%s: %s", path,
                       errno == ENOENT ? "there is no key; `verdant serve` makes one"
                                       : strerror(errno));
    bool plain = fstat(fd, &about) == 0 && S_ISREG(about.st_mode);
    ssize_t n = plain ? read(fd, text, sizeof(text) - 1) : -1;
    if (!plain)
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: this is no file", path);
    else if (n < 0)
        st = VD_FAIL(err, VD_ERR_IO, "%s: cannot be read: %s", path, strerror(errno));
    else if ((about.st_mode & 077) != 0)
        st = VD_FAIL(err, VD_ERR_PERM, "%s: others may read or write it (mode %04o); chmod 600, or "
                     "make a new one by removing it", path, (unsigned)about.st_mode & 07777);
    close(fd);
    text[strcspn(text, "\n")] = '\0';
    if (st == VD_OK && !from_base64(text, seed, sizeof(seed)))
        st = VD_FAIL(err, VD_ERR_FORMAT, "%s: this is no key (base64 of %d bytes)", path, SEED);
    if (st == VD_OK) {
        crypto_sign_seed_keypair(public_key, key->secret, seed);
        to_base64(public_key, sizeof(public_key), key->public_key);
    }
    sodium_memzero(text, sizeof(text));
    sodium_memzero(seed, sizeof(seed));
    return st;
}

vd_status vd_receipt_key_open(const char *folder, bool make, vd_receipt_key **ret_key, vd_err *err)
{
    vd_receipt_key *key = NULL;
    char *path = NULL;
    vd_buf name;
    vd_buf_init(&name, 4096);
    if (sodium_init() < 0)
        return VD_FAIL(err, VD_ERR_IO, "libsodium cannot start");
    vd_buf_printf(&name, "%s/receipt.key", folder);
    vd_status st = vd_buf_status(&name, "the path of the key", err);
    if (st == VD_OK)
        path = vd_buf_take(&name);
    vd_buf_done(&name);
    if (st == VD_OK)
        st = vd_alloc_array(1, sizeof(*key), "the key", &key, err);
    if (st == VD_OK && make && access(path, F_OK) != 0 && errno == ENOENT)
        st = make_key(folder, path, err);
    if (st == VD_OK)
        st = read_key(path, key, err);
    if (st == VD_OK) {
        *ret_key = key;
        key = NULL;
    }
    vd_receipt_key_close(key);
    vd_free(path);
    return st;
}

void vd_receipt_key_close(vd_receipt_key *key)
{
    if (key != NULL)
        sodium_memzero(key, sizeof(*key));
    vd_free(key);
}

const char *vd_receipt_key_public(const vd_receipt_key *key)
{
    return key->public_key;
}

/* ---- receipts --------------------------------------------------------------------------------*/

/* Only what has one canonical form. */
static bool is_plain(const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        json_object_foreach((json_t *)value, key, member)
            if (!is_plain(member))
                return false;
        return true;
    case JSON_ARRAY:
        json_array_foreach(value, i, member)
            if (!is_plain(member))
                return false;
        return true;
    case JSON_STRING:
        for (const char *c = json_string_value(value); *c != '\0'; c++)
            if ((unsigned char)*c < 0x20)
                return false;
        return strlen(json_string_value(value)) == json_string_length(value);
    case JSON_INTEGER:
        return json_integer_value(value) <= whole_max && json_integer_value(value) >= -whole_max;
    case JSON_REAL:
        return false;
    default:
        return true;
    }
}

/* vd_free. */
static char *canonical(const json_t *value)
{
    return json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS);
}

vd_status vd_receipt_sign(const vd_receipt_key *key, const json_t *payload, char **ret_text,
                          vd_err *err)
{
    unsigned char signature[SIGNATURE];
    char written[BASE64_MAX];
    vd_status st = VD_OK;
    vd_buf out;
    if (!json_is_object(payload) || !is_plain(payload))
        return VD_FAIL(err, VD_ERR_ARG, "a receipt holds texts and whole numbers");
    char *text = canonical(payload);
    vd_buf_init(&out, 1 << 20);
    if (text != NULL) {
        crypto_sign_detached(signature, NULL, (const unsigned char *)text, strlen(text),
                             key->secret);
        to_base64(signature, sizeof(signature), written);
        vd_buf_printf(&out, "{\"key\":\"%s\",\"payload\":", key->public_key);
        vd_buf_puts(&out, text);
        vd_buf_printf(&out, ",\"signature\":\"%s\"}", written);
        st = vd_buf_status(&out, "a receipt", err);
    } else {
        st = VD_FAIL(err, VD_ERR_NOMEM, "no memory for a receipt");
    }
    vd_free(text);
    if (st == VD_OK)
        *ret_text = vd_buf_take(&out);
    vd_buf_done(&out);
    return st;
}

static vd_status check_parts(json_t *receipt, const char *public_key, vd_err *err)
{
    unsigned char key[PUBLIC], trusted[PUBLIC], signature[SIGNATURE];
    json_t *payload = json_object_get(receipt, "payload");
    const char *shown = json_string_value(json_object_get(receipt, "key"));
    if (!json_is_object(receipt) || json_object_size(receipt) != 3 || !json_is_object(payload) ||
        !is_plain(payload))
        return VD_FAIL(err, VD_ERR_FORMAT, "this is no receipt: {\"key\", \"payload\", "
                       "\"signature\"}");
    if (!from_base64(shown, key, sizeof(key)))
        return VD_FAIL(err, VD_ERR_FORMAT, "the key in the receipt is none (base64 of %d bytes)",
                       PUBLIC);
    if (public_key != NULL && !from_base64(public_key, trusted, sizeof(trusted)))
        return VD_FAIL(err, VD_ERR_FORMAT, "the key to compare with is none (base64 of %d bytes)",
                       PUBLIC);
    if (public_key != NULL && sodium_memcmp(key, trusted, sizeof(key)) != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "the receipt is signed by another key: %s", shown);
    if (!from_base64(json_string_value(json_object_get(receipt, "signature")), signature,
                     sizeof(signature)))
        return VD_FAIL(err, VD_ERR_FORMAT, "the signature is none (base64 of %d bytes)",
                       SIGNATURE);
    char *text = canonical(payload);
    if (text == NULL)
        return VD_FAIL(err, VD_ERR_NOMEM, "no memory for a receipt");
    int wrong = crypto_sign_verify_detached(signature, (const unsigned char *)text, strlen(text),
                                            key);
    vd_free(text);
    if (wrong != 0)
        return VD_FAIL(err, VD_ERR_FORMAT, "the signature does not fit: the receipt was changed");
    return VD_OK;
}

vd_status vd_receipt_verify(const char *text, size_t n, const char *public_key,
                            json_t **ret_payload, vd_err *err)
{
    json_t *receipt = NULL;
    if (sodium_init() < 0)
        return VD_FAIL(err, VD_ERR_IO, "libsodium cannot start");
    vd_status st = vd_json_parse(text, n, &receipt, err);
    if (st == VD_OK)
        st = check_parts(receipt, public_key, err);
    if (st == VD_OK)
        *ret_payload = json_incref(json_object_get(receipt, "payload"));
    json_decref(receipt);
    return st;
}
