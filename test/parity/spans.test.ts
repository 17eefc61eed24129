/** Spans of deliveries and calls, as a collector gets them. */

import test from 'ava';
import { collectGrpc } from '../_support/collector.ts';
import { startGrpcApp } from '../_support/grpc-app.ts';
import { until } from '../_support/until.ts';
import { startParityApp } from './_app.ts';
import { invoke } from './_echo.ts';
import { configuration, configured } from './_sidecar.ts';

const tracingTo = ({ port }: { port: number }): object =>
  configuration('c', {
    tracing: { samplingRate: '1', otel: { endpointAddress: `127.0.0.1:${port}`, protocol: 'grpc', isSecure: false } },
  });

for (const protocol of ['http', 'grpc'] as const) {
  test(`an event that knows no trace begins one with its delivery to an app over ${protocol}`, async (t) => {
    const collector = await collectGrpc(t);
    const app = await startParityApp(t, protocol, [{ topic: 'a', route: '/a', metadata: { rawPayload: 'true' } }]);
    const { sidecar } = await configured(t, [tracingTo(collector)], { appPort: app.port, protocol });
    t.is(await sidecar.publish('a', 'bytes', { query: 'metadata.rawPayload=true' }), 204);
    const [received] = await app.got(1);
    const [, traceId, spanId, flags] = String(received?.headers['traceparent']).split('-');
    const span = await until(() => collector.named('pubsub/a')[0], 'the delivery is exported', 20_000);
    t.like(span, { traceId, spanId, parentSpanId: '' });
    t.is(flags, '01');
  });
}

test('a span of a call has the headers of Dapr, without bytes and tokens, and the app gets them all', async (t) => {
  const collector = await collectGrpc(t);
  let given: Record<string, unknown> = {};
  const app = await startGrpcApp({ invoke: (_, headers) => ((given = headers), { data: undefined, contentType: '' }) });
  t.teardown(() => app.close());
  const options = { appPort: app.port, protocol: 'grpc' } as const;
  const { sidecar } = await configured(t, [tracingTo(collector)], options);
  const told = { 'dapr-one': '1', 'dapr-': 'bare', 'dapr-a-bin-b': '2', 'dapr-a-token-b': '3' };
  const untold = { 'dapr-a-bin': Buffer.from([0, 255]), 'dapr-a-token': 'secret', 'dapr-token': 's', other: '4' };
  await invoke(sidecar, 'x', { headers: { ...told, ...untold } });
  t.like(given, { ...told, ...untold });
  const method = '/dapr.proto.runtime.v1.Dapr/InvokeService';
  const span = await until(() => collector.named(method)[0], 'the call is exported', 20_000);
  t.like(span.attributes, told);
  for (const name of Object.keys(untold)) t.false(name in span.attributes, name);
});
