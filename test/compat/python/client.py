"""Publishes with the official SDK's client. Tells each answer as one line of JSON."""

import json

from dapr.clients import BulkPublishEntry, DaprClient
from dapr.clients.exceptions import DaprGrpcError


def tell(what, **answer):
    print(json.dumps({'what': what, **answer}) + '\n', end='', flush=True)


def event(type):
    attributes = {'id': type, 'source': 'here', 'type': type, 'specversion': '1.0'}
    return json.dumps({**attributes, 'datacontenttype': 'application/json', 'data': {'type': type}})


with DaprClient() as client:

    def publish(what, topic, data, content_type=None, pubsub='pubsub', **metadata):
        try:
            client.publish_event(pubsub, topic, data, data_content_type=content_type, publish_metadata=metadata)
            tell(what, error=None)
        except DaprGrpcError as error:
            tell(what, error=error.details(), code=error.code().name, reason=error.error_code())

    publish('object', 'orders', json.dumps({'by': 'python'}), 'application/json')
    publish('text', 'orders', 'text by python')
    publish('bytes', 'orders', bytes([0, 255, 7]), 'application/octet-stream')
    publish('special', 'routed', event('special'), 'application/cloudevents+json')
    publish('ordinary', 'routed', event('ordinary'), 'application/cloudevents+json')
    publish('raw', 'raw', json.dumps({'raw': 'python'}), 'application/json', rawPayload='true')
    publish('again', 'again', json.dumps({'again': 'python'}), 'application/json')
    publish('refused', 'refused', json.dumps({'refused': 'python'}), 'application/json')
    publish('odd metadata', 'odd', '"odd"', 'application/json', **{'%': 'a', 'é': 'b', 'c': 'é', 'd': 'x' * 70_000, 'e': 'f'})
    publish('unknown', 'orders', 'x', pubsub='nowhere')
    publish('empty topic', '', 'x')
    entries = [BulkPublishEntry(event=json.dumps({'n': n}), content_type='application/json') for n in range(3)]
    tell('bulk', failed=len(client.publish_events('pubsub', 'many', entries).failed_entries))
    client.set_metadata('key', 'python')
    metadata = client.get_metadata()
    tell('metadata', id=metadata.application_id, key=metadata.extended_metadata.get('key'))
