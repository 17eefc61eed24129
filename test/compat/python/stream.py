"""Subscribes by streams, once by iterating and once with a handler. Tells each event as one line of JSON."""

import json
import sys

from dapr.clients import DaprClient
from dapr.clients.grpc._response import TopicEventResponse

failures = iter([True])


def tell(handler, **facts):
    print(json.dumps({'handler': handler, **facts}) + '\n', end='', flush=True)


def told(handler, message):
    tell(handler, data=message.data(), topic=message.topic(), original=message.extensions().get('topic'))


def handled(message):
    told('handled', message)
    return TopicEventResponse('drop' if message.data() == 'drop' else 'success')


def dead(message):
    told('dead', message)
    return TopicEventResponse('success')


with DaprClient() as client:
    close_handled = client.subscribe_with_handler('pubsub', 'handled', handled, dead_letter_topic='dead')
    close_dead = client.subscribe_with_handler('pubsub', 'dead', dead)
    subscription = client.subscribe('pubsub', 'iterated')
    tell('ready')
    for message in subscription:
        told('iterated', message)
        if next(failures, False):
            subscription.respond_retry(message)
            continue
        subscription.respond_success(message)
        if message.data() == 'last':
            break
    sys.stdin.readline()
    subscription.close()
    close_handled()
    close_dead()
    tell('closed')
