import test, { type ExecutionContext } from 'ava';
import { ApiAccess } from '../../../src/core/api-access.ts';
import { createGateway, type GatewayOptions } from '../../../src/http/gateway.ts';
import { ConnectionLimit } from '../../../src/lib/connection-limit.ts';
import { startHttpServer } from '../../../src/http/server.ts';
import { MemoryBudget } from '../../../src/lib/memory-budget.ts';

/** What a request is answered by a gateway of which these parts work, and nothing else. */
async function answerOf(t: ExecutionContext, parts: Partial<GatewayOptions>, path: string, method = 'GET') {
  const options = {
    appId: 'app',
    apiToken: '',
    allowedOrigins: [],
    access: new ApiAccess([], []),
    maxBodyBytes: 0,
    budget: new MemoryBudget(1 << 20),
    tracer: undefined,
    onRequest: undefined,
    onError: undefined,
    ...parts,
  } as unknown as GatewayOptions;
  const server = await startHttpServer(createGateway(options), {
    addresses: ['127.0.0.1'],
    port: { port: 0, search: false },
    socket: '',
    maxHeaderBytes: 8192,
    limit: new ConnectionLimit(100, () => undefined),
  });
  t.teardown(() => server.close(AbortSignal.abort()));
  const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { method });
  return { status: answer.status, body: await answer.json() };
}

test('until components and servers are up outbound health says that they are not', async (t) => {
  t.deepEqual(await answerOf(t, { outboundReady: () => false }, '/v1.0/healthz/outbound'), {
    status: 500,
    body: { errorCode: 'ERR_OUTBOUND_HEALTH_NOT_READY', message: 'dapr outbound is not ready' },
  });
});

test('an error that nobody thought of is an answer too', async (t) => {
  const find = (): never => {
    throw new Error('a surprise');
  };
  t.deepEqual(await answerOf(t, { find }, '/v1.0/publish/pubsub/a', 'POST'), {
    status: 500,
    body: { errorCode: 'ERROR', message: 'a surprise' },
  });
});
