import test from 'ava';
import { specFromDocument, specsFromAppAnswer } from '../../../src/core/subscription-document.ts';
import { Fields } from '../../../src/lib/fields.ts';
import { memoryLog } from '../config/_support.ts';

const answer = (...items: unknown[]) => specsFromAppAnswer(JSON.stringify(items), memoryLog());

test('a subscription with one route has one rule that always matches', (t) => {
  t.deepEqual(answer({ pubsubname: 'pubsub', topic: 'deathStarStatus', route: 'dsstatus' }), [
    {
      name: '',
      kind: 'PROGRAMMATIC',
      pubsubName: 'pubsub',
      topic: 'deathStarStatus',
      rules: [{ match: '', path: 'dsstatus' }],
      metadata: {},
      deadLetterTopic: '',
    },
  ]);
});

test('rules keep their order, the default comes last and hides a single route', (t) => {
  const rules = [{ match: ' event.type == "a" ', path: '/a' }, { path: '/b' }, { match: '   ', path: '/c' }];
  const [withDefault, without] = answer(
    { topic: 't', routes: { rules, default: '/d' }, route: '/hidden' },
    { topic: 't', routes: { rules: rules.slice(0, 1) }, route: '/e' },
  );
  t.deepEqual(withDefault?.rules, [
    { match: 'event.type == "a"', path: '/a' },
    { match: '', path: '/b' },
    { match: '', path: '/c' },
    { match: '', path: '/d' },
  ]);
  t.deepEqual(without?.rules.at(-1), { match: '', path: '/e' });
});

test('keys count in any case, unknown ones not at all, and null is absent', (t) => {
  const [spec] = answer({
    pubsubName: 'p',
    TOPIC: 't',
    Routes: { Default: '/x', rules: null },
    DeadLetterTopic: 'dead',
    metadata: { rawPayload: 'true', gone: null },
    bulkSubscribe: null,
    colour: ['red'],
  });
  t.like(spec, { pubsubName: 'p', topic: 't', deadLetterTopic: 'dead', metadata: { rawPayload: 'true' } });
  t.deepEqual(Object.keys(spec?.metadata ?? {}), ['rawPayload']);
  t.is(spec?.bulk, undefined);
});

test('of several spellings of a key the last counts', (t) => {
  t.is(answer({ topic: 'a', Topic: 'b', TOPIC: null, route: '/' })[0]?.topic, 'b');
});

test('bulk subscription counts when it is enabled, and fills in what is missing', (t) => {
  const bulk = (bulkSubscribe: object) => answer({ topic: 't', route: '/', bulkSubscribe })[0]?.bulk;
  t.is(bulk({ maxMessagesCount: 5 }), undefined);
  t.is(bulk({ enabled: false }), undefined);
  t.deepEqual(bulk({ enabled: true }), { maxMessages: 100, maxAwaitMs: 1000 });
  t.deepEqual(bulk({ enabled: true, maxMessagesCount: 5, maxAwaitDurationMs: 40 }), { maxMessages: 5, maxAwaitMs: 40 });
  t.deepEqual(bulk({ enabled: true, maxMessagesCount: -1, maxAwaitDurationMs: 0 }), {
    maxMessages: 100,
    maxAwaitMs: 1000,
  });
  t.throws(() => bulk({ enabled: 'perhaps' }), { message: /bulkSubscribe\.enabled is a text, not true or false/ });
  t.throws(() => bulk({ enabled: true, maxMessagesCount: 1.5 }), {
    message: /maxMessagesCount is a number, not a whole/,
  });
});

test('an item without any route is left out with a warning', (t) => {
  const log = memoryLog();
  const body = JSON.stringify([{ topic: 'a' }, { topic: 'b', route: '' }, null, { topic: 'c', route: '/c' }]);
  t.deepEqual(
    specsFromAppAnswer(body, log).map(({ topic }) => topic),
    ['c'],
  );
  t.deepEqual(log.lines, [
    'warn topic a has an empty routes. removing from subscriptions list',
    'warn topic b has an empty routes. removing from subscriptions list',
    'warn topic  has an empty routes. removing from subscriptions list',
  ]);
});

test('a declarative subscription without any route stays and matches nothing', (t) => {
  const spec = specFromDocument({ topic: 't', pubsubname: 'p' }, 'DECLARATIVE', 'mine');
  t.like(spec, { name: 'mine', kind: 'DECLARATIVE' });
  t.deepEqual(spec.rules, []);
});

test('an empty answer, null and an empty list are no subscriptions', (t) => {
  for (const body of ['', ' \n', 'null', '[]']) t.deepEqual(specsFromAppAnswer(body, memoryLog()), []);
});

test('an answer that is no list of subscriptions is an error that says where', (t) => {
  t.throws(() => specsFromAppAnswer('<html>', memoryLog()), { instanceOf: SyntaxError });
  t.throws(() => specsFromAppAnswer('{"topic":"t"}', memoryLog()), { message: 'the answer is a mapping, not a list' });
  t.throws(() => answer('topicA'), { message: 'item 1: subscription is a text, not a mapping' });
  t.throws(() => answer({ route: '/' }, { topic: 5 }), {
    message: 'item 2: subscription.topic is a number, not a text',
  });
  t.throws(() => answer({ routes: [] }), { message: 'item 1: subscription.routes is a list, not a mapping' });
  t.throws(() => answer({ routes: { rules: [{ path: '/' }, 'x'] } }), {
    message: 'item 1: subscription.routes.rules[1] is a text, not a mapping',
  });
});

test('metadata that is not text spoils the answer', (t) => {
  for (const value of [1, true, {}, ['x']]) {
    t.throws(() => answer({ topic: 't', route: '/', metadata: { rawPayload: value } }), {
      message: /^item 1: subscription\.metadata\.rawPayload is a \w+, not a text$/,
    });
  }
});

test('keys that name a prototype are keys like any other', (t) => {
  const body =
    '[{"topic":"t","route":"/","__proto__":{"pubsubname":"evil"},"metadata":{"__proto__":"x","constructor":"y"}}]';
  const [spec] = specsFromAppAnswer(body, memoryLog());
  t.is(spec?.pubsubName, '');
  t.deepEqual(Object.entries(spec?.metadata ?? {}), [
    ['__proto__', 'x'],
    ['constructor', 'y'],
  ]);
  t.is(Object.getPrototypeOf(spec?.metadata), Object.prototype);
  t.is(({} as Record<string, unknown>)['pubsubname'], undefined);
});

test('deep nesting in a part nobody reads does no harm', (t) => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000);
  t.is(specsFromAppAnswer(`[{"topic":"t","route":"/","x":${deep}}]`, memoryLog()).length, 1);
});

test('fields read numbers and booleans that are written as text', (t) => {
  const fields = new Fields({ n: '12', b: 'False', bad: '1x', list: ['a', 1] }, 'spec');
  t.is(fields.integer('N'), 12);
  t.is(fields.flag('B'), false);
  t.is(fields.integer('none'), undefined);
  t.throws(() => fields.integer('bad'), { message: 'spec.bad is a text, not a whole number' });
  t.throws(() => fields.texts('list'), { message: 'spec.list[1] is a number, not a text' });
});
