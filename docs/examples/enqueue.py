#!/usr/bin/env python3
"""Gives the fleet one job over AMQP and prints its result.

    enqueue.py TYPE KEY [PAYLOAD]      enqueue.py gaia.noop.v1 hello '{"note": "from Python"}'

GAIA_AMQP_URL says where the broker is. Needs pika (apt install python3-pika).
"""
import json
import os
import sys

import pika

job_type, key = sys.argv[1:3]
payload = sys.argv[3] if len(sys.argv) > 3 else "{}"

connection = pika.BlockingConnection(pika.URLParameters(os.environ["GAIA_AMQP_URL"]))
channel = connection.channel()
channel.confirm_delivery()  # publishing then fails loudly where the job would be lost
replies = channel.queue_declare(queue="", exclusive=True).method.queue

channel.basic_publish(
    exchange="gaia.jobs",
    routing_key=job_type,
    mandatory=True,
    properties=pika.BasicProperties(
        type=job_type,
        message_id=key,  # the idempotency key: a repeat gets the same result and runs nothing
        correlation_id=key,
        reply_to=replies,
        content_type="application/json",
        delivery_mode=2,  # survives a restart of the broker
    ),
    body=payload,
)

for _, properties, body in channel.consume(replies, auto_ack=True, inactivity_timeout=30):
    if body is None:
        sys.exit(f"no result for {key} within 30 s")
    if properties.correlation_id == key:
        break

event = json.loads(body)  # a CloudEvents document
print(json.dumps(event, indent=2))
connection.close()
sys.exit(0 if event["data"]["outcome"] == "succeeded" else 1)
