/* OpenSSL as Swift can call it: what its headers offer as macros, and nothing else. */
#ifndef GAIA_COPENSSL_SHIM_H
#define GAIA_COPENSSL_SHIM_H

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
/* What the thread that waits for sockets waits with; Swift's Glibc module leaves these out. */
#include <sys/epoll.h>
#include <sys/eventfd.h>

static inline long cossl_set_server_name(SSL *session, const char *name) {
    return SSL_set_tlsext_host_name(session, name);
}

static inline long cossl_pending(BIO *bio) {
    return (long)BIO_ctrl_pending(bio);
}

static inline long cossl_memory(BIO *bio, char **bytes) {
    return BIO_get_mem_data(bio, bytes);
}

/* RFC 2253, with UTF-8 as it is: only what has a meaning in the text is escaped. */
static inline void cossl_print_name(BIO *bio, const X509_NAME *name) {
    (void)X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB);
}

#endif
