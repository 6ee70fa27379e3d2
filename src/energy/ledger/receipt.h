/*
 * receipt.h - what one answer cost, signed: Ed25519 (RFC 8032), to be checked offline by anyone.
 *
 *   {"key":BASE64,"payload":{...},"signature":BASE64}
 *
 * The signature is over the payload's bytes in canonical form: keys sorted, no blanks, UTF-8, no
 * number but whole ones below 2^53 (RFC 8785, of which that is the simple part). docs/ledger.md
 * tells a stranger how to verify one. A key is immutable once open: any thread may sign.
 */
#ifndef VD_ENERGY_LEDGER_RECEIPT_H
#define VD_ENERGY_LEDGER_RECEIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <verdant/status.h>

#include "base/json.h"

typedef struct vd_receipt_key vd_receipt_key;

/* Reads FOLDER/receipt.key, mode 0600; with `make` an absent one is made, and receipt.pub beside
 * it. VD_ERR_NOT_FOUND, VD_ERR_PERM (also where others may read it), VD_ERR_FORMAT, VD_ERR_IO,
 * VD_ERR_NOMEM. No message holds the key. */
VD_NODISCARD vd_status vd_receipt_key_open(const char *folder, bool make, vd_receipt_key **ret_key,
                                           vd_err *err);
void vd_receipt_key_close(vd_receipt_key *key); /* wipes it; NULL is a no-op */
/* Base64 of the public key. Borrowed. */
const char *vd_receipt_key_public(const vd_receipt_key *key);

/* The receipt of a payload as text in canonical form; vd_free. VD_ERR_ARG for a payload with a
 * number that is not whole, VD_ERR_NOMEM. */
VD_NODISCARD vd_status vd_receipt_sign(const vd_receipt_key *key, const json_t *payload,
                                       char **ret_text, vd_err *err);

/* Is text[0..n) a receipt, whole and unchanged? `public_key` (base64; NULL: the one in the receipt)
 * must be its key. VD_ERR_FORMAT says what is wrong. *ret_payload: a new reference. */
VD_NODISCARD vd_status vd_receipt_verify(const char *text, size_t n, const char *public_key,
                                         json_t **ret_payload, vd_err *err);

#endif
