/** The member that shares out partitions, at a bad moment. */

import { connect, createServer, type Socket } from 'node:net';
import test from 'ava';
import { publish, Recorder, subscribe } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { freePort } from '../_support/ports.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

const METADATA = 3;
const JOIN_GROUP = 11;

test('a leader of a group that cannot ask for the partitions shares them out when it can', async (t) => {
  const port = await freePort();
  const server = await KafkaServer.start((end) => t.teardown(end), {
    listeners: { WORN: 'PLAINTEXT' },
    properties: { 'advertised.listeners': `PLAINTEXT://127.0.0.1:{port},WORN://127.0.0.1:${port}` },
  });
  // Cuts the connection on which partitions are asked for after the group was joined, once.
  let joins = 0;
  let cuts = 0;
  const proxy = createServer((client: Socket) => {
    const target = connect(Number(server.addressOf('WORN').split(':')[1]), '127.0.0.1');
    client.on('data', (chunk: Buffer) => {
      const api = chunk.length > 6 ? chunk.readInt16BE(4) : -1;
      if (api === JOIN_GROUP) joins++;
      if (api === METADATA && joins > 0 && cuts === 0) {
        cuts++;
        return client.resetAndDestroy();
      }
      target.write(chunk);
    });
    target.on('data', (chunk: Buffer) => client.write(chunk));
    for (const socket of [client, target]) {
      socket.on('error', () => undefined).on('close', () => (client.destroy(), target.destroy()));
    }
  });
  await new Promise<void>((resolve) => proxy.listen(port, '127.0.0.1', resolve));
  t.teardown(() => void proxy.close());
  const { broker } = await openSite(t, { brokers: `127.0.0.1:${port}` });
  const recorder = new Recorder();
  await subscribe(broker, 'shared', recorder);
  await publish(broker, 'shared', 'x');
  await until(() => recorder.messages.length === 1, 'it arrives');
  t.is(cuts, 1);
});
