import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { publish, startDaprd, temporaryDirectory, type Daprd } from '../_support/daprd.ts';
import { until } from '../_support/until.ts';

async function logging(t: ExecutionContext, apiLogging: string): Promise<Daprd> {
  const directory = await temporaryDirectory(t);
  const file = join(directory, 'config.yaml');
  await writeFile(file, `kind: Configuration\nspec:\n  logging:\n    apiLogging: ${apiLogging}\n`);
  return startDaprd(t, { directory, args: ['--config', file] });
}

const calls = (daprd: Daprd): string[] =>
  daprd
    .log()
    .split('\n')
    .filter((line) => line.includes('HTTP API Called'));

test('each call is logged with its method, status, duration and the size of the answer', async (t) => {
  const daprd = await logging(t, '{enabled: true}');
  const body = await (await publish(daprd, 'secret-topic', '1', { pubsub: 'nobody' })).text();
  await publish(daprd, 'secret-topic', '1');
  await fetch(`${daprd.http}/v1.0/healthz`);
  await until(() => calls(daprd).length === 3, 'all are logged');
  const of = (what: string): string => calls(daprd).find((line) => line.includes(what)) ?? '';
  const [refused, published, health] = [of('/nobody/'), of('/pubsub/'), of('/healthz')];
  t.regex(refused, /method="POST \/v1.0\/publish\/nobody\/secret-topic" .*duration=\d+ code=404/);
  t.regex(refused, new RegExp(`size=${Buffer.byteLength(body)}\\b`));
  t.regex(published, /code=204 .*size=0\b/);
  t.regex(health, /method="GET \/v1.0\/healthz"/);
});

test('URLs may be left out of it, and so may health checks', async (t) => {
  const daprd = await logging(t, '{enabled: true, obfuscateURLs: true, omitHealthChecks: true}');
  await fetch(`${daprd.http}/v1.0/healthz`);
  await fetch(`${daprd.http}/v1.0/healthz/outbound`);
  await publish(daprd, 'secret-topic', '1');
  await fetch(`${daprd.http}/v1.0/metadata`);
  await until(() => calls(daprd).length === 2, 'both are logged');
  const methods = calls(daprd).map((line) => /method=(\w+)/.exec(line)?.[1]);
  t.deepEqual(methods.toSorted(), ['GetMetadata', 'PublishEvent']);
  t.false(daprd.log().includes('secret-topic'));
});
