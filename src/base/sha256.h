/* sha256.h - SHA-256 (FIPS 180-4), to check what was fetched. Not tuned. Single-owner. */
#ifndef VD_BASE_SHA256_H
#define VD_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

enum { VD_SHA256_HEX = 64 };

typedef struct vd_sha256 {
    uint32_t h[8];
    uint64_t n_bytes;
    unsigned char block[64];
} vd_sha256;

void vd_sha256_init(vd_sha256 *sha);
void vd_sha256_add(vd_sha256 *sha, const void *data, size_t n);
/* Lower-case hex with a NUL. The state is spent. */
void vd_sha256_end(vd_sha256 *sha, char hex[VD_SHA256_HEX + 1]);

/* Of a whole file, read in pieces. */
VD_NODISCARD vd_status vd_sha256_file(const char *path, char hex[VD_SHA256_HEX + 1], vd_err *err);

#endif
