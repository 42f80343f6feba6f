#include "CFiles.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <zlib.h>

// OpenSSL's EVP functions take the processor's SHA instructions where there are any. CRC-32 is none of its business.
struct gaia_digest {
    EVP_MD_CTX *context;  // NULL for CRC-32
    uLong checksum;
};

static const EVP_MD *algorithm(enum gaia_digest_kind kind) {
    switch (kind) {
        case GAIA_DIGEST_SHA256: return EVP_sha256();
        case GAIA_DIGEST_SHA512: return EVP_sha512();
        case GAIA_DIGEST_SHA1: return EVP_sha1();
        case GAIA_DIGEST_MD5: return EVP_md5();
        case GAIA_DIGEST_CRC32: return NULL;
    }
    return NULL;
}

struct gaia_digest *gaia_digest_open(enum gaia_digest_kind kind) {
    struct gaia_digest *digest = calloc(1, sizeof *digest);
    if (digest == NULL) return NULL;
    if (kind == GAIA_DIGEST_CRC32) {
        digest->checksum = crc32_z(0, NULL, 0);
        return digest;
    }
    digest->context = EVP_MD_CTX_new();
    if (digest->context == NULL || EVP_DigestInit_ex(digest->context, algorithm(kind), NULL) != 1) {
        gaia_digest_close(digest);
        return NULL;
    }
    return digest;
}

int gaia_digest_update(struct gaia_digest *digest, const void *bytes, size_t count) {
    if (count == 0) return 0;
    if (digest->context != NULL) return EVP_DigestUpdate(digest->context, bytes, count) == 1 ? 0 : -1;
    digest->checksum = crc32_z(digest->checksum, bytes, count);
    return 0;
}

int gaia_digest_finish(struct gaia_digest *digest, uint8_t output[GAIA_DIGEST_BYTES_MAX]) {
    if (digest->context != NULL) {
        unsigned length = 0;
        return EVP_DigestFinal_ex(digest->context, output, &length) == 1 ? (int)length : -1;
    }
    // Most significant byte first, as the number is usually written.
    for (int index = 0; index < 4; index++) output[index] = (uint8_t)(digest->checksum >> (24 - 8 * index));
    return 4;
}

void gaia_digest_close(struct gaia_digest *digest) {
    EVP_MD_CTX_free(digest->context);
    free(digest);
}
