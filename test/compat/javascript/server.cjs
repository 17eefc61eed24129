// An app on the official SDK's server. Tells each event that a handler got as one line of JSON.
const { CommunicationProtocolEnum, DaprPubSubStatusEnum, DaprServer, HttpMethod } = require('@dapr/dapr');

const { APP_PORT, DAPR_HTTP_PORT, DAPR_GRPC_PORT } = process.env;
const isGrpc = process.argv[2] === 'grpc';
const server = new DaprServer({
  serverHost: '127.0.0.1',
  serverPort: APP_PORT,
  communicationProtocol: isGrpc ? CommunicationProtocolEnum.GRPC : CommunicationProtocolEnum.HTTP,
  clientOptions: { daprHost: '127.0.0.1', daprPort: isGrpc ? DAPR_GRPC_PORT : DAPR_HTTP_PORT },
  logger: { level: 'error' },
});

const tell = (handler, data, headers) =>
  console.log(
    JSON.stringify({
      handler,
      data,
      pubsubname: headers?.pubsubname,
      type: headers?.['content-type'],
    }),
  );
const telling = (handler, answer) => async (data, headers) => {
  tell(handler, data, headers);
  return answer;
};

async function main() {
  const { pubsub } = server;
  await pubsub.subscribe('pubsub', 'orders', telling('orders'));
  await pubsub.subscribeWithOptions('pubsub', 'routed', {
    route: { default: 'ordinary', rules: [{ match: 'event.type == "special"', path: 'special' }] },
  });
  pubsub.subscribeToRoute('pubsub', 'routed', 'ordinary', telling('ordinary'));
  pubsub.subscribeToRoute('pubsub', 'routed', 'special', telling('special'));
  await pubsub.subscribeWithOptions('pubsub', 'raw', { callback: telling('raw'), metadata: { rawPayload: true } });
  let failures = 0;
  await pubsub.subscribe('pubsub', 'again', async (data, headers) => {
    tell('again', data, headers);
    return failures++ === 0 ? DaprPubSubStatusEnum.RETRY : DaprPubSubStatusEnum.SUCCESS;
  });
  await pubsub.subscribeWithOptions('pubsub', 'refused', {
    callback: telling('refused', DaprPubSubStatusEnum.DROP),
    deadLetterTopic: 'dead',
  });
  await pubsub.subscribe('pubsub', 'dead', telling('dead'));
  await pubsub.subscribeBulk('pubsub', 'many', telling('many'), { maxMessagesCount: 10, maxAwaitDurationMs: 100 });
  await server.invoker.listen('echo', async ({ body }) => ({ echo: body }), { method: HttpMethod.POST });
  await server.start();
}

main();
