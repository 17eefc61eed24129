"""An app on Flask with the SDK's extension, its events parsed by cloudevents. Tells each as one line of JSON."""

import json
import os

from cloudevents.http import from_http
from dapr.ext.flask import DaprApp
from flask import Flask, request

app = Flask(__name__)
dapr_app = DaprApp(app)
failures = iter([True])


def tell(handler):
    event = from_http(dict(request.headers), request.get_data())
    attributes = {name: event[name] for name in ('topic', 'pubsubname', 'type', 'datacontenttype')}
    data = list(event.data) if isinstance(event.data, bytes) else event.data
    print(json.dumps({'handler': handler, 'data': data, **attributes}) + '\n', end='', flush=True)


@dapr_app.subscribe(pubsub='pubsub', topic='orders')
def orders():
    tell('orders')
    return 'ok'


@dapr_app.subscribe(pubsub='pubsub', topic='raw', metadata={'rawPayload': 'true'}, route='/raw')
def raw():
    tell('raw')
    return json.dumps({'success': True}), 200, {'ContentType': 'application/json'}


@dapr_app.subscribe(pubsub='pubsub', topic='again')
def again():
    tell('again')
    return ('not now', 503) if next(failures, False) else ''


@dapr_app.subscribe(pubsub='pubsub', topic='refused', dead_letter_topic='dead')
def refused():
    tell('refused')
    return {'status': 'DROP'}


@dapr_app.subscribe(pubsub='pubsub', topic='dead')
def dead():
    tell('dead')
    return ''


@dapr_app.subscribe(pubsub='pubsub', topic='many')
def many():
    tell('many')
    return ''


app.run(host='127.0.0.1', port=int(os.environ['APP_PORT']))
