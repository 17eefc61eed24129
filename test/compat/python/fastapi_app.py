"""An app on FastAPI with the SDK's extension. Tells each event that a handler got as one line of JSON."""

import json
import os

import uvicorn
from dapr.ext.fastapi import DaprApp
from fastapi import Body, FastAPI
from pydantic import BaseModel

app = FastAPI()
dapr_app = DaprApp(app)
failures = iter([True])


class CloudEvent(BaseModel):
    """As the quickstart has it: every member is wanted, as a text but for the data."""

    datacontenttype: str
    source: str
    topic: str
    pubsubname: str
    data: dict | str
    id: str
    specversion: str
    tracestate: str
    type: str
    traceid: str


def tell(handler, event):
    print(json.dumps({'handler': handler, **event}) + '\n', end='', flush=True)


@dapr_app.subscribe(pubsub='pubsub', topic='strict')
def strict(event: CloudEvent):
    tell('strict', event.model_dump())


@dapr_app.subscribe(pubsub='pubsub', topic='orders')
def orders(event=Body()):
    tell('orders', event)


@dapr_app.subscribe(pubsub='pubsub', topic='raw', metadata={'rawPayload': 'true'}, route='/raw')
def raw(event=Body()):
    tell('raw', event)


@dapr_app.subscribe(pubsub='pubsub', topic='again')
def again(event=Body()):
    tell('again', event)
    return {'status': 'RETRY' if next(failures, False) else 'SUCCESS'}


@dapr_app.subscribe(pubsub='pubsub', topic='refused', dead_letter_topic='dead')
def refused(event=Body()):
    tell('refused', event)
    return {'status': 'DROP'}


@dapr_app.subscribe(pubsub='pubsub', topic='dead')
def dead(event=Body()):
    tell('dead', event)


@dapr_app.subscribe(pubsub='pubsub', topic='many')
def many(event=Body()):
    tell('many', event)


uvicorn.run(app, host='127.0.0.1', port=int(os.environ['APP_PORT']), log_level='warning')
