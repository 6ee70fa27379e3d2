/*
 * sha256.c - see sha256.h. Section numbers are those of FIPS 180-4 (2015).
 *
 * The constants are the first 32 fractional bits of the cube roots of the first 64 primes (4.2.2)
 * and of the square roots of the first 8 (5.3.3).
 */
#include "base/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/fail.h"

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotr(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

/* 6.2.2: one block of 64 bytes. */
static void compress(uint32_t h[8], const unsigned char block[64])
{
    uint32_t w[64], v[8];
    for (int t = 0; t < 16; t++) {
        const unsigned char *p = block + 4 * t;
        w[t] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (int t = 16; t < 64; t++) {
        uint32_t a = w[t - 15], b = w[t - 2];
        w[t] = (rotr(b, 17) ^ rotr(b, 19) ^ b >> 10) + w[t - 7] +
               (rotr(a, 7) ^ rotr(a, 18) ^ a >> 3) + w[t - 16];
    }
    memcpy(v, h, sizeof(v));
    for (int t = 0; t < 64; t++) {
        uint32_t a = v[0], e = v[4];
        uint32_t t1 = v[7] + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) +
                      ((e & v[5]) ^ (~e & v[6])) + k[t] + w[t];
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) +
                      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

void vd_sha256_init(vd_sha256 *sha)
{
    *sha = (vd_sha256){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                             0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void vd_sha256_add(vd_sha256 *sha, const void *data, size_t n)
{
    const unsigned char *p = data;
    while (n > 0) {
        size_t at = (size_t)(sha->n_bytes % 64), piece = VD_MIN(n, 64 - at);
        if (piece == 64) {
            compress(sha->h, p);
        } else {
            memcpy(sha->block + at, p, piece);
            if (at + piece == 64)
                compress(sha->h, sha->block);
        }
        sha->n_bytes += piece;
        p += piece;
        n -= piece;
    }
}

void vd_sha256_end(vd_sha256 *sha, char hex[VD_SHA256_HEX + 1])
{
    static const unsigned char padding[64] = {0x80};
    uint64_t n_bits = sha->n_bytes * 8; /* 5.1.1 */
    unsigned char length[8];
    vd_sha256_add(sha, padding, 1 + (119 - sha->n_bytes % 64) % 64);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)(n_bits >> (56 - 8 * i));
    vd_sha256_add(sha, length, 8);
    for (int i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", (unsigned)sha->h[i]);
}

vd_status vd_sha256_file(const char *path, char hex[VD_SHA256_HEX + 1], vd_err *err)
{
    unsigned char piece[1 << 16];
    vd_sha256 sha;
    vd_status st = VD_OK;
    size_t n;
    FILE *stream = fopen(path, "rbe");
    if (stream == NULL)
        return VD_FAIL(err, errno == ENOENT ? VD_ERR_NOT_FOUND : VD_ERR_IO, "cannot open %s: %s",
                       path, strerror(errno));
    vd_sha256_init(&sha);
    while ((n = fread(piece, 1, sizeof(piece), stream)) > 0)
        vd_sha256_add(&sha, piece, n);
    if (ferror(stream))
        st = VD_FAIL(err, VD_ERR_IO, "cannot read %s: %s", path, strerror(errno));
    else
        vd_sha256_end(&sha, hex);
    fclose(stream);
    return st;
}
