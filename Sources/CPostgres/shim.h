// libpq as Swift sees it, and the few calls of Linux that an event loop needs and Glibc's module leaves out.
// The field codes are character constants in libpq's headers; as integers they can be passed to PQresultErrorField
// without a conversion at every call.
#ifndef CPOSTGRES_SHIM_H
#define CPOSTGRES_SHIM_H

#include <libpq-fe.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

static const int cpostgres_diag_severity = PG_DIAG_SEVERITY_NONLOCALIZED;
static const int cpostgres_diag_sqlstate = PG_DIAG_SQLSTATE;
static const int cpostgres_diag_message = PG_DIAG_MESSAGE_PRIMARY;
static const int cpostgres_diag_detail = PG_DIAG_MESSAGE_DETAIL;
static const int cpostgres_diag_hint = PG_DIAG_MESSAGE_HINT;
static const int cpostgres_diag_constraint = PG_DIAG_CONSTRAINT_NAME;
static const int cpostgres_diag_position = PG_DIAG_STATEMENT_POSITION;
static const int cpostgres_diag_function = PG_DIAG_SOURCE_FUNCTION;

#endif
