"""An app on the SDK's gRPC server. Tells each event that a handler got as one line of JSON."""

import json
import os

from dapr.clients.grpc._response import TopicEventResponse
from dapr.ext.grpc import App, Rule, SubscriptionMessage

app = App()
failures = iter([True])


def tell(handler, event):
    print(
        json.dumps(
            {
                'handler': handler,
                'data': event.data(),
                'bytes': list(event.raw_data()),
                'topic': event.topic(),
                'type': event.type(),
                'original': event.extensions().get('topic'),
                'pubsubname': event.metadata().get('pubsubname'),
                'e': event.metadata().get('e'),
            }
        )
        + '\n',
        end='', flush=True,
    )


@app.subscribe('pubsub', 'orders')
def orders(event: SubscriptionMessage) -> None:
    tell('orders', event)


@app.subscribe('pubsub', 'routed', rule=Rule('event.type == "special"', 1))
def special(event: SubscriptionMessage) -> None:
    tell('special', event)


@app.subscribe('pubsub', 'routed', rule=Rule('true', 2))
def ordinary(event: SubscriptionMessage) -> None:
    tell('ordinary', event)


@app.subscribe('pubsub', 'raw', metadata={'rawPayload': 'true'})
def raw(event: SubscriptionMessage) -> None:
    tell('raw', event)


@app.subscribe('pubsub', 'again')
def again(event: SubscriptionMessage) -> TopicEventResponse:
    tell('again', event)
    return TopicEventResponse('retry' if next(failures, False) else 'success')


@app.subscribe('pubsub', 'refused', dead_letter_topic='dead')
def refused(event: SubscriptionMessage) -> TopicEventResponse:
    tell('refused', event)
    return TopicEventResponse('drop')


@app.subscribe('pubsub', 'dead')
def dead(event: SubscriptionMessage) -> None:
    tell('dead', event)


@app.subscribe('pubsub', 'odd')
def odd(event: SubscriptionMessage) -> None:
    tell('odd', event)


@app.subscribe('pubsub', 'many')
def many(event: SubscriptionMessage) -> None:
    tell('many', event)


app.run(int(os.environ['APP_PORT']))
