/** What Redis does to us, and that it heals without anybody's help. */

import { setTimeout as wait } from 'node:timers/promises';
import test from 'ava';
import { publish, Recorder, retry, subscribe, SUCCESS, text, textOf, texts } from '../conformance/bench.ts';
import { connectionsTo, DURABLE, RedisServer } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite } from './_site.ts';

test('a group that was destroyed is made again and gives everything that is still in the stream', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker, lines } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'before');
  await until(async () => recorder.messages.length === 1 && (await broker.stats('orders')).pending === 0, 'it settled');
  await server.ask('xgroup', 'DESTROY', 'orders', 'team');
  await publish(broker, 'orders', 'after');
  await until(() => recorder.texts.includes('after'), 'the group works');
  t.deepEqual(recorder.texts, ['before', 'before', 'after']);
  t.is(lines.filter((line) => line.includes('NOGROUP')).length, 1);
});

test('a deleted stream costs nothing that is in hand, be it handled or waiting for its retry', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const handled: string[] = [];
  const recorder = new Recorder(async (message) => {
    if (textOf(message) === 'slow') await gate;
    if (textOf(message) === 'failing' && message.attempt === 1) return retry(300);
    handled.push(textOf(message));
    return SUCCESS;
  });
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'slow', 'failing');
  await until(() => recorder.messages.length === 2, 'both are in hand');
  await server.ask('del', 'orders');
  await until(() => handled.includes('failing'), 'the retry came');
  open();
  await publish(broker, 'orders', 'new');
  await until(() => handled.length === 3, 'all are handled');
  t.deepEqual(handled.toSorted(), ['failing', 'new', 'slow']);
  t.is(recorder.messages.find((message) => textOf(message) === 'failing' && message.attempt > 1)?.attempt, 2);
});

test('a full server refuses publishes and says why, while delivery goes on', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address, concurrency: '1' });
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const recorder = new Recorder(() => gate.then(() => SUCCESS));
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', ...texts('m', 30));
  await server.ask('config', 'SET', 'maxmemory', 1);
  const [failure] = await broker.publish('orders', [text('one too many')]);
  t.regex(failure?.error.message ?? '', /^redis streams: error from publish: OOM /);
  open();
  await until(async () => recorder.messages.length === 30, 'the others are delivered');
  await until(async () => (await broker.stats('orders')).pending === 0, 'and acknowledged');
  await server.ask('config', 'SET', 'maxmemory', 0);
  await publish(broker, 'orders', 'again');
  await until(() => recorder.texts.includes('again'), 'it works again');
});

test('a server that is killed and comes back has lost nothing, and the log is short', async (t) => {
  const server = await RedisServer.start(t.teardown, DURABLE);
  const { broker, lines } = await openSite(t, { redisHost: server.address });
  let isBack = false;
  const recorder = new Recorder(() => (isBack ? SUCCESS : retry(50)));
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', ...texts('m', 20));
  await until(() => recorder.messages.length >= 20, 'they are in hand');
  await server.kill();
  const began = performance.now();
  const refusals = await Promise.all(texts('lost', 5).map((content) => broker.publish('orders', [text(content)])));
  t.true(performance.now() - began < 15_000, 'a publish fails in bounded time');
  t.true(refusals.every(([refusal]) => /ECONNREFUSED|closed/.test(refusal?.error.message ?? '')));
  await until(() => lines.some((line) => line.includes('cannot be reached')), 'it is said');
  const attempts = await connectionsTo(server.port, 3000);
  t.true(attempts >= 2 && attempts <= 80, `${attempts} attempts to connect`);
  isBack = true;
  await server.start();
  const back = performance.now();
  await publish(broker, 'orders', 'new');
  await until(
    async () => recorder.texts.includes('new') && (await broker.stats('orders')).pending === 0,
    'all is done',
  );
  t.true(performance.now() - back < 15_000, `took ${performance.now() - back} ms`);
  t.deepEqual([...new Set(recorder.texts)].toSorted(), [...texts('m', 20), 'new'].toSorted());
  t.true(lines.length <= 6, lines.join('\n'));
  t.is(
    lines.filter((line) => /^warn redis at .* cannot be reached, trying again: .*ECONNREFUSED/.test(line)).length,
    1,
  );
  t.is(lines.filter((line) => /^info redis at .* is back after \d+s/.test(line)).length, 1);
});

test('a server that hangs is given up, and used again when it goes on', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker, lines } = await openSite(t, { redisHost: server.address, readTimeout: '2s', dialTimeout: '1s' });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'before');
  await until(() => recorder.messages.length === 1, 'it arrived');
  server.signal('SIGSTOP');
  const began = performance.now();
  const [failure] = await broker.publish('orders', [text('hanging')]);
  t.truthy(failure);
  t.true(performance.now() - began < 4500, 'sooner than without the setting');
  await t.throwsAsync(broker.ping());
  server.signal('SIGCONT');
  const continued = performance.now();
  await until(async () => (await broker.publish('orders', [text('after')])).length === 0, 'a publish succeeds');
  await until(() => recorder.texts.includes('after'), 'it arrived');
  t.true(performance.now() - continued < 15_000, `took ${performance.now() - continued} ms`);
  t.true(
    lines.some((line) =>
      /cannot be reached, trying again: the server did not answer within 2000ms \(readTimeout\)/.test(line),
    ),
  );
  t.false(
    lines.some((line) => /acknowledging|keeping|looking/.test(line)),
    lines.join('\n'),
  );
});

test('what a lost reply brought is claimed again at once', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  const all = texts('m', 300);
  let published = 0;
  const killing = (async () => {
    while (published < all.length) {
      await server.ask('client', 'KILL', 'TYPE', 'normal').catch(() => undefined);
      await wait(50);
      // However slow the machine, something gets through between two kills.
      const next = Math.min(published + 1, all.length);
      await until(() => published >= next, 'it goes on');
    }
  })();
  for (; published < all.length; published++) {
    const content = all[published] as string;
    await until(async () => (await broker.publish('orders', [text(content)])).length === 0, content);
  }
  await killing;
  await until(() => new Set(recorder.texts).size === all.length, 'all arrived');
  await until(async () => (await broker.stats('orders')).pending === 0, 'all settled');
  t.deepEqual([...new Set(recorder.texts)].toSorted(), all.toSorted());
});

test('a master that becomes a replica is left for the one that has its place', async (t) => {
  const [server, other] = await Promise.all([RedisServer.start(t.teardown), RedisServer.start(t.teardown)]);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await server.ask('replicaof', '127.0.0.1', other.port);
  await until(async () => (await broker.publish('orders', [text('refused')])).length === 1, 'it is a replica');
  const [failure] = await broker.publish('orders', [text('refused')]);
  t.truthy(failure);
  await server.ask('replicaof', 'NO', 'ONE');
  await until(async () => (await broker.publish('orders', [text('taken')])).length === 0, 'it is a master again');
  await until(() => recorder.texts.includes('taken'), 'it arrived');
});

test('a server that still loads its data is waited for', async (t) => {
  const server = await RedisServer.start(t.teardown, [...DURABLE, '--key-load-delay', '0']);
  const { broker, lines } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder();
  await subscribe(broker, 'orders', recorder);
  await server.ask('eval', "for i = 1, 3000 do redis.call('XADD', 'ballast', '*', 'a', 'b') end", 0);
  await server.kill();
  server.args.splice(-1, 1, '1000');
  server.launch();
  await until(async () => /loading:1/.test(String(await server.ask('info').catch(() => ''))), 'it loads');
  const [failure] = await broker.publish('orders', [text('early')]);
  t.truthy(failure);
  await until(async () => (await broker.publish('orders', [text('late')])).length === 0, 'it has loaded');
  await until(() => recorder.texts.includes('late'), 'it arrived');
  t.true(lines.length <= 6, lines.join('\n'));
});

test('a topic whose key is no stream any more does not disturb the others', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const [broken, sound] = [new Recorder(), new Recorder()];
  await subscribe(broker, 'broken', broken);
  await subscribe(broker, 'sound', sound);
  await server.ask('set', 'broken', 'by somebody');
  await publish(broker, 'sound', ...texts('m', 5));
  await until(() => sound.messages.length === 5, 'the other topic works');
  const [failure] = await broker.publish('broken', [text('x')]);
  t.regex(failure?.error.message ?? '', /WRONGTYPE/);
  await server.ask('del', 'broken');
  await publish(broker, 'broken', 'x');
  await until(() => broken.messages.length === 1, 'it heals');
});

test('what was trimmed before it was handled is said and does not stay pending', async (t) => {
  const server = await RedisServer.start(t.teardown);
  await server.ask('xgroup', 'CREATE', 'orders', 'team', '0', 'MKSTREAM');
  await server.ask('xadd', 'orders', '*', 'data', 'x');
  await server.ask('xreadgroup', 'GROUP', 'team', 'elsewhere', 'STREAMS', 'orders', '>');
  await server.ask('xtrim', 'orders', 'MAXLEN', '0');
  const { broker, lines } = await openSite(t, { redisHost: server.address, processingTimeout: '200ms' });
  await subscribe(broker, 'orders', new Recorder());
  await until(async () => (await broker.stats('orders')).pending === 0, 'it is pending no more');
  const said = (): string[] => lines.filter((line) => /1 messages of topic orders were trimmed before/.test(line));
  await until(() => said().length > 0, 'it is said');
  t.is(said().length, 1);
});

test('what is renamed away and back is handled, but for what the rename itself overwrote', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker } = await openSite(t, { redisHost: server.address });
  const recorder = new Recorder(() => wait(5, SUCCESS));
  await subscribe(broker, 'orders', recorder);
  const taken: string[] = [];
  let isOver = false;
  const loading = Promise.all(
    texts('m', 4).map(async (prefix) => {
      for (let i = 0; !isOver; i++) {
        await publish(broker, 'orders', `${prefix}-${i}`);
        taken.push(`${prefix}-${i}`);
      }
    }),
  );
  const admin = server.client();
  const overwritten = new Set<string>();
  const more = async (): Promise<void> => {
    const goal = taken.length + 100;
    await until(() => taken.length > goal, 'more are taken');
  };
  for (let i = 0; i < 5; i++) {
    await more();
    await admin.rename('orders', 'elsewhere');
    const reply = await admin.multi().xrange('orders', '-', '+').rename('elsewhere', 'orders').exec();
    const entries = (reply?.[0]?.[1] ?? []) as [string, string[]][];
    for (const [, fields] of entries) overwritten.add(fields[1] as string);
  }
  await more();
  isOver = true;
  await loading;
  const missing = (): string[] => {
    const seen = new Set(recorder.texts);
    return taken.filter((content) => !seen.has(content) && !overwritten.has(content));
  };
  await until(async () => missing().length === 0 && (await broker.stats('orders')).pending === 0, 'all are handled');
  t.pass();
});

test('a look for abandoned messages that failed is made again soon, and what is new waits no longer', async (t) => {
  const server = await RedisServer.start(t.teardown, DURABLE);
  const settings = { redisHost: server.address, redeliverInterval: '10m', processingTimeout: '100ms' };
  const { broker } = await openSite(t, settings);
  await publish(broker, 'orders', ...texts('m', 100));
  await server.ask('xgroup', 'CREATE', 'orders', 'team', '0');
  await server.ask('xreadgroup', 'GROUP', 'team', 'other', 'COUNT', 100, 'STREAMS', 'orders', '>');
  const idle = async (): Promise<boolean> => {
    const [[, , ms = 0] = []] = (await server.ask('xpending', 'orders', 'team', '-', '+', 1)) as [
      string,
      string,
      number,
    ][];
    return ms > 100;
  };
  await until(idle, 'they look abandoned');
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const recorder = new Recorder(() => gate.then(() => retry(Infinity)));
  await subscribe(broker, 'orders', recorder);
  await until(() => recorder.messages.length === 10, 'the first are in hand');
  await server.kill();
  open();
  await until(() => recorder.messages.length === 20, 'all in hand are parked');
  await wait(1500); // a look waits a second for the server
  await server.start();
  await until(async () => (await broker.publish('orders', [text('new')])).length === 0, 'it is back');
  await until(() => new Set(recorder.texts).size === 101, 'the rest and what is new came');
  t.true(recorder.texts.includes('new'));
});

test('what is in hand outlives a consumer that somebody deletes, parked or not, also the end of the sidecar', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const settings = { redisHost: server.address, entryKeepAliveInterval: '200ms' };
  const first = await openSite(t, settings);
  const before = new Recorder((message) =>
    textOf(message) === 'parked' ? retry(Infinity) : new Promise(() => undefined),
  );
  await subscribe(first.broker, 'orders', before);
  await publish(first.broker, 'orders', 'parked', 'hanging');
  await until(async () => (await first.broker.stats('orders')).parked === 1, 'one is parked');
  const deleteConsumers = async (): Promise<void> => {
    for (const [, name = ''] of (await server.ask('xinfo', 'CONSUMERS', 'orders', 'team')) as string[][]) {
      await server.ask('xgroup', 'DELCONSUMER', 'orders', 'team', name);
    }
  };
  await deleteConsumers();
  await until(async () => (await first.broker.stats('orders')).pending === 2, 'they are pending again');
  t.is((await first.broker.stats('orders')).parked, 1);
  await deleteConsumers();
  await first.broker.close();
  const after = new Recorder();
  const { broker } = await openSite(t, settings);
  await subscribe(broker, 'orders', after);
  await until(
    async () => after.messages.length === 2 && (await broker.stats('orders')).pending === 0,
    'both came again',
  );
  t.deepEqual(after.texts.toSorted(), ['hanging', 'parked']);
});

test('what was parked and is gone from the stream is said', async (t) => {
  const server = await RedisServer.start(t.teardown);
  const { broker, lines } = await openSite(t, { redisHost: server.address, entryKeepAliveInterval: '200ms' });
  const recorder = new Recorder(() => retry(Infinity));
  await subscribe(broker, 'orders', recorder);
  await publish(broker, 'orders', 'x', 'y');
  await until(async () => (await broker.stats('orders')).parked === 2, 'they are parked');
  await server.ask('del', 'orders');
  await publish(broker, 'orders', 'new');
  await until(() => lines.some((line) => /[12] messages of topic orders were trimmed/.test(line)), 'it is said');
  t.is(recorder.messages.length, 3);
});
