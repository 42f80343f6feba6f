#define _GNU_SOURCE
#include "CFloor.h"

#include <errno.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#endif

enum { key_bytes = 64, channel = 1 };

static char *failure(const char *format, ...) __attribute__((format(printf, 1, 2)));
static char *failure(const char *format, ...) {
    char *text = NULL;
    va_list arguments;
    va_start(arguments, format);
    if (vasprintf(&text, format, arguments) < 0) abort();
    va_end(arguments);
    return text;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

const char *gaia_floor_librabbitmq(void) { return amqp_version(); }

const char *gaia_floor_libpq(void) {
    static char text[16];
    snprintf(text, sizeof text, "%d.%d", PQlibVersion() / 10000, PQlibVersion() % 10000);
    return text;
}

// MARK: Broker

static char *replied(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type == AMQP_RESPONSE_NORMAL) return NULL;
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        return failure("%s: %s", what, amqp_error_string2(reply.library_error));
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION && reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_t *closed = reply.reply.decoded;
        return failure("%s: %.*s", what, (int)closed->reply_text.len, (char *)closed->reply_text.bytes);
    }
    return failure("%s: the broker closed the connection", what);
}

static char *open_link(const struct gaia_floor_broker *broker, amqp_connection_state_t *link) {
    *link = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(*link);
    if (socket == NULL || amqp_socket_open(socket, broker->host, broker->port) != AMQP_STATUS_OK)
        return failure("no connection to the broker at %s:%d", broker->host, broker->port);
    char *error = replied(
        amqp_login(*link, broker->virtual_host, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, broker->user, broker->password),
        "log in");
    if (error != NULL) return error;
    amqp_channel_open(*link, channel);
    return replied(amqp_get_rpc_reply(*link), "open a channel");
}

static void close_link(amqp_connection_state_t link) {
    if (link == NULL) return;
    amqp_connection_close(link, AMQP_REPLY_SUCCESS);
    amqp_destroy_connection(link);
}

/// A link that publishes with confirms, and what of it is unconfirmed: a flag for each message from `first` on.
struct publisher {
    amqp_connection_state_t link;
    uint64_t next, first;
    int window;
    bool *confirmed;
};

static char *open_publisher(const struct gaia_floor_broker *broker, int window, struct publisher *publisher) {
    *publisher = (struct publisher){.next = 1, .first = 1, .window = window, .confirmed = calloc((size_t)window, sizeof(bool))};
    char *error = open_link(broker, &publisher->link);
    if (error != NULL) return error;
    amqp_confirm_select(publisher->link, channel);
    return replied(amqp_get_rpc_reply(publisher->link), "ask for confirms");
}

static void close_publisher(struct publisher *publisher) {
    close_link(publisher->link);
    free(publisher->confirmed);
}

static char *publish(
    struct publisher *publisher, amqp_bytes_t exchange, amqp_bytes_t routing_key, amqp_bytes_t id, amqp_bytes_t body) {
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
        .delivery_mode = 2,
        .message_id = id,
        .content_type = amqp_cstring_bytes("application/json"),
    };
    int status = amqp_basic_publish(publisher->link, channel, exchange, routing_key, 0, 0, &properties, body);
    if (status != AMQP_STATUS_OK) return failure("publish: %s", amqp_error_string2(status));
    publisher->confirmed[publisher->next % (uint64_t)publisher->window] = false;
    publisher->next += 1;
    return NULL;
}

/// Reads confirms until at most `open` messages are unconfirmed.
static char *await_confirms(struct publisher *publisher, uint64_t open) {
    uint64_t window = (uint64_t)publisher->window;
    while (publisher->next - publisher->first > open) {
        amqp_frame_t frame;
        amqp_maybe_release_buffers(publisher->link);
        int status = amqp_simple_wait_frame(publisher->link, &frame);
        if (status != AMQP_STATUS_OK) return failure("wait for confirms: %s", amqp_error_string2(status));
        if (frame.frame_type != AMQP_FRAME_METHOD) continue;
        if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            return failure("the broker answered a publish with %s", amqp_method_name(frame.payload.method.id));
        amqp_basic_ack_t *ack = frame.payload.method.decoded;
        if (ack->multiple) {
            for (uint64_t tag = publisher->first; tag <= ack->delivery_tag; tag++)
                publisher->confirmed[tag % window] = true;
        } else {
            publisher->confirmed[ack->delivery_tag % window] = true;
        }
        while (publisher->first < publisher->next && publisher->confirmed[publisher->first % window]) publisher->first += 1;
    }
    return NULL;
}

static char *subscribe(amqp_connection_state_t link, const char *queue, int prefetch) {
    amqp_basic_qos(link, channel, 0, (uint16_t)prefetch, 0);
    char *error = replied(amqp_get_rpc_reply(link), "limit the prefetch");
    if (error != NULL) return error;
    amqp_basic_consume(link, channel, amqp_cstring_bytes(queue), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    return replied(amqp_get_rpc_reply(link), "consume");
}

/// Reads the next delivery, waiting for it at most so long. - Returns: its tag, 0 when none came.
static char *receive(amqp_connection_state_t link, double wait, char key[key_bytes], uint64_t *tag) {
    struct timeval limit = {.tv_sec = (time_t)wait, .tv_usec = (suseconds_t)((wait - (double)(time_t)wait) * 1e6)};
    amqp_envelope_t envelope;
    *tag = 0;
    amqp_rpc_reply_t reply = amqp_consume_message(link, &envelope, &limit, 0);
    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION && reply.library_error == AMQP_STATUS_TIMEOUT) return NULL;
    char *error = replied(reply, "take a message");
    if (error != NULL) return error;
    amqp_bytes_t id = envelope.message.properties.message_id;
    *tag = envelope.delivery_tag;
    snprintf(key, key_bytes, "%.*s", (int)id.len, (char *)id.bytes);
    amqp_destroy_envelope(&envelope);
    return NULL;
}

char *gaia_floor_publish(
    const struct gaia_floor_broker *broker, const char *queue, const char *prefix, long count, int bytes, int window,
    double *seconds) {
    struct publisher publisher;
    char *body = calloc(1, (size_t)bytes + 1);
    char *error = open_publisher(broker, window, &publisher);
    if (error != NULL) goto end;
    memset(body, ' ', (size_t)bytes);
    double begin = now();
    for (long number = 0; number < count; number++) {
        char key[key_bytes];
        snprintf(key, key_bytes, "%s%ld", prefix, number);
        error = await_confirms(&publisher, (uint64_t)window - 1);
        if (error == NULL)
            error = publish(
                &publisher, amqp_empty_bytes, amqp_cstring_bytes(queue), amqp_cstring_bytes(key),
                (amqp_bytes_t){.len = (size_t)bytes, .bytes = body});
        if (error != NULL) goto end;
    }
    error = await_confirms(&publisher, 0);
    *seconds = now() - begin;
end:
    close_publisher(&publisher);
    free(body);
    return error;
}

char *gaia_floor_consume(
    const struct gaia_floor_broker *broker, const char *queue, long count, int prefetch, int batch, double *seconds) {
    amqp_connection_state_t link = NULL;
    char *error = open_link(broker, &link);
    if (error == NULL) error = subscribe(link, queue, prefetch);
    double begin = now();
    for (long number = 1; error == NULL && number <= count; number++) {
        char key[key_bytes];
        uint64_t tag;
        error = receive(link, 10, key, &tag);
        if (error == NULL && tag == 0) error = failure("the queue ended after %ld messages", number - 1);
        if (error == NULL && (number % batch == 0 || number == count)) amqp_basic_ack(link, channel, tag, 1);
    }
    *seconds = now() - begin;
    close_link(link);
    return error;
}

// MARK: Database

/// Keys and tokens of a batch, as PostgreSQL reads arrays: {a,b,c}. Keys here need no quotes.
struct batch {
    int count;
    char (*keys)[key_bytes];
    char *key_array;
    char *token_array;
};

static void open_batch(struct batch *batch, int limit) {
    batch->count = 0;
    batch->keys = calloc((size_t)limit, key_bytes);
    batch->key_array = malloc((size_t)limit * (key_bytes + 1) + 3);
    batch->token_array = malloc((size_t)limit * 24 + 3);
}

static void close_batch(struct batch *batch) {
    free(batch->keys);
    free(batch->key_array);
    free(batch->token_array);
}

static char *open_ledger(const struct gaia_floor_ledger *ledger, PGconn **connection) {
    *connection = PQconnectdb(ledger->connection);
    if (PQstatus(*connection) != CONNECTION_OK) return failure("no connection to the database: %s", PQerrorMessage(*connection));
    const char *statements[][2] = {{"claim", ledger->claim}, {"complete", ledger->complete}};
    for (int index = 0; index < 2; index++) {
        PGresult *result = PQprepare(*connection, statements[index][0], statements[index][1], 0, NULL);
        bool is_good = PQresultStatus(result) == PGRES_COMMAND_OK;
        PQclear(result);
        if (!is_good) return failure("prepare %s: %s", statements[index][0], PQerrorMessage(*connection));
    }
    return NULL;
}

static PGresult *run(PGconn *connection, const char *name, int count, const char *const *values) {
    return PQexecPrepared(connection, name, count, values, NULL, NULL, 0);
}

/// Claims the batch and completes what was claimed: two statements, each a transaction.
static char *settle(PGconn *connection, struct batch *batch) {
    char *end = batch->key_array;
    for (int index = 0; index < batch->count; index++) end += sprintf(end, "%c%s", index == 0 ? '{' : ',', batch->keys[index]);
    strcpy(end, "}");
    PGresult *claimed = run(connection, "claim", 1, (const char *[]){batch->key_array});
    if (PQresultStatus(claimed) != PGRES_TUPLES_OK || PQntuples(claimed) != batch->count) {
        char *error = failure("claimed %d of %d jobs: %s", PQntuples(claimed), batch->count, PQerrorMessage(connection));
        PQclear(claimed);
        return error;
    }
    int key = PQfnumber(claimed, "key"), token = PQfnumber(claimed, "token");
    char *keys = batch->key_array, *tokens = batch->token_array;
    for (int row = 0; row < batch->count; row++) {
        keys += sprintf(keys, "%c%s", row == 0 ? '{' : ',', PQgetvalue(claimed, row, key));
        tokens += sprintf(tokens, "%c%s", row == 0 ? '{' : ',', PQgetvalue(claimed, row, token));
    }
    strcpy(keys, "}");
    strcpy(tokens, "}");
    PQclear(claimed);
    PGresult *completed = run(connection, "complete", 2, (const char *[]){batch->key_array, batch->token_array});
    char *error = NULL;
    if (PQresultStatus(completed) != PGRES_TUPLES_OK || PQntuples(completed) != batch->count)
        error = failure("completed %d of %d jobs: %s", PQntuples(completed), batch->count, PQerrorMessage(connection));
    PQclear(completed);
    return error;
}

char *gaia_floor_settle(
    const struct gaia_floor_ledger *ledger, const char *prefix, long count, int limit, double *seconds) {
    PGconn *connection = NULL;
    struct batch batch;
    open_batch(&batch, limit);
    char *error = open_ledger(ledger, &connection);
    double begin = now();
    for (long number = 0; error == NULL && number < count; number++) {
        snprintf(batch.keys[batch.count++], key_bytes, "%s%ld", prefix, number);
        if (batch.count == limit || number == count - 1) {
            error = settle(connection, &batch);
            batch.count = 0;
        }
    }
    *seconds = now() - begin;
    PQfinish(connection);
    close_batch(&batch);
    return error;
}

// MARK: Both

char *gaia_floor_loop(
    const struct gaia_floor_broker *broker, const struct gaia_floor_ledger *ledger, const char *queue,
    const char *exchange, const char *routing_key, int bytes, int limit, double idle, long *count, double *seconds) {
    PGconn *connection = NULL;
    amqp_connection_state_t link = NULL;
    struct publisher publisher = {.link = NULL};
    struct batch batch;
    open_batch(&batch, limit);
    char *body = calloc(1, (size_t)bytes + 1);
    memset(body, ' ', (size_t)bytes);
    char *error = open_ledger(ledger, &connection);
    if (error == NULL) error = open_publisher(broker, limit + 1, &publisher);
    if (error == NULL) error = open_link(broker, &link);
    // As much again is on its way while a batch is worked on.
    if (error == NULL) error = subscribe(link, queue, limit * 2 > 2000 ? 2000 : limit * 2);
    double begin = 0, end = 0;
    *count = 0;
    while (error == NULL) {
        uint64_t tag = 0, last = 0;
        batch.count = 0;
        // Waits for the first; of the others, takes what is there.
        do {
            error = receive(link, batch.count == 0 ? idle : 0, batch.keys[batch.count], &tag);
            if (error == NULL && tag != 0) {
                last = tag;
                batch.count += 1;
            }
        } while (error == NULL && tag != 0 && batch.count < limit);
        if (error != NULL || batch.count == 0) break;
        if (begin == 0) begin = now();
        error = settle(connection, &batch);
        for (int index = 0; error == NULL && index < batch.count; index++)
            error = publish(
                &publisher, amqp_cstring_bytes(exchange), amqp_cstring_bytes(routing_key),
                amqp_cstring_bytes(batch.keys[index]), (amqp_bytes_t){.len = (size_t)bytes, .bytes = body});
        if (error == NULL) error = await_confirms(&publisher, 0);
        if (error == NULL) {
            amqp_basic_ack(link, channel, last, 1);
            *count += batch.count;
            end = now();
        }
    }
    *seconds = end - begin;
    close_link(link);
    close_publisher(&publisher);
    PQfinish(connection);
    close_batch(&batch);
    free(body);
    return error;
}
