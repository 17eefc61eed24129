// Publishes with the official SDK's client, over the protocol that is the argument. Tells each answer as one line of JSON.
const { CommunicationProtocolEnum, DaprClient, HttpMethod } = require('@dapr/dapr');

const { DAPR_HTTP_PORT, DAPR_GRPC_PORT } = process.env;
const protocol = process.argv[2];
const isGrpc = protocol === 'grpc';
const client = new DaprClient({
  daprHost: '127.0.0.1',
  daprPort: isGrpc ? DAPR_GRPC_PORT : DAPR_HTTP_PORT,
  communicationProtocol: isGrpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP,
  logger: { level: 'error' },
});

const event = (type) => ({
  id: `${type} by ${protocol}`,
  source: 'here',
  type,
  specversion: '1.0',
  datacontenttype: 'application/json',
  data: { type },
});

/** One publish; over gRPC the SDK throws, over HTTP it returns the error. */
async function publish(what, ...args) {
  const { error } = await client.pubsub.publish(...args).catch((thrown) => thrown);
  console.log(JSON.stringify({ what, error: error ? String(error.message) : null }));
}

async function main() {
  await publish('object', 'pubsub', 'orders', { by: protocol });
  await publish('text', 'pubsub', 'orders', `text by ${protocol}`);
  await publish('bytes', 'pubsub', 'orders', Buffer.from(`bytes by ${protocol}`), {
    contentType: 'application/octet-stream',
  });
  await publish('topic with a slash', 'pubsub', 'a/b c', { by: protocol });
  await publish('special', 'pubsub', 'routed', event('special'));
  await publish('ordinary', 'pubsub', 'routed', event('ordinary'));
  await publish('raw', 'pubsub', 'raw', { raw: protocol }, { metadata: { rawPayload: 'true' } });
  await publish('again', 'pubsub', 'again', { again: protocol });
  await publish('refused', 'pubsub', 'refused', { refused: protocol });
  await publish('unknown', 'nowhere', 'orders', { by: protocol });
  const bulk = await client.pubsub.publishBulk('pubsub', 'many', [
    { entryID: 'one', event: { n: 1 }, contentType: 'application/json' },
    { entryID: 'two', event: 'two', contentType: 'text/plain' },
    event('three'),
  ]);
  console.log(JSON.stringify({ what: 'bulk', failed: bulk.failedMessages.length }));
  const { id, components, subscriptions } = await client.metadata.get();
  console.log(JSON.stringify({ what: 'metadata', id, components, subscribed: subscriptions?.length }));
  const answer = await client.invoker.invoke('app', 'echo', HttpMethod.POST, { by: protocol });
  console.log(JSON.stringify({ what: 'invoked', answer }));
  console.log(JSON.stringify({ what: 'set', done: await client.metadata.set('key', protocol) }));
  await client.stop();
}

main();
