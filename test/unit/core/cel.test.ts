import test from 'ava';
import { withLinearMatches } from '../../../src/core/cel.ts';
import { compileRules } from '../../../src/core/routing.ts';

async function matches(match: string, event: object): Promise<boolean> {
  const router = await compileRules([{ match, path: '/p' }], () => undefined);
  return router.route(event) !== undefined;
}

test('a pattern that backtracks for ever in JavaScript is answered', async (t) => {
  t.false(await matches('event.subject.matches("^(a+)+$")', { subject: `${'a'.repeat(5000)}!` }));
  t.true(await matches('event.subject.matches("^(a+)+$")', { subject: 'a'.repeat(5000) }));
});

test('matches finds a part, as RE2 does, and a pattern that is none does not match', async (t) => {
  t.true(await matches("event.subject.matches('b+')", { subject: 'abbc' }));
  t.false(await matches("event.subject.matches('^b+$')", { subject: 'abbc' }));
  t.true(
    await matches("event.subject . matches (r'\\d') && event.type == '.matches('", { subject: '1', type: '.matches(' }),
  );
  t.false(await matches('event.subject.matches(event.pattern)', { subject: 'a', pattern: '(' }));
  t.false(await matches('event.subject.matches("a")', { subject: 1 }));
});

test('only calls are renamed, not what stands in texts and comments, and members stay', (t) => {
  t.is(withLinearMatches('a.matches("x")'), 'a.RE2like("x")');
  for (const source of [
    '"a.matches(" == \'b.matches(\'',
    'r"\\".matches == 1',
    '"""a " .matches( """ == ""',
    "'it\\'s .matches('",
    'event.matches == 1 // a.matches(b)',
    'a.matchesNot(b)',
  ]) {
    t.is(withLinearMatches(source), source);
  }
});

test('matches is a function too, and literals may be of mixed kinds', async (t) => {
  t.true(await matches('matches(event.subject, "b+")', { subject: 'abbc' }));
  t.false(await matches('matches(event.subject, "^(a+)+$")', { subject: `${'a'.repeat(5000)}!` }));
  t.true(await matches('event.type in ["a", event.subject, 5]', { type: 'b', subject: 'b' }));
  t.true(await matches('event.data.n in [1, 2.5, "x"]', { data: { n: 2.5 } }));
  t.true(await matches('{"a": 1, "b": event.type}["b"] == "x"', { type: 'x' }));
});

test('a moment may be a text and a number', async (t) => {
  const event = { time: '2026-01-01T00:00:00Z' };
  t.true(await matches('string(timestamp(event.time)) == "2026-01-01T00:00:00Z"', event));
  t.true(await matches('int(timestamp(event.time)) == 1767225600', event));
});

test('what no event could ever make true is told at once, not of the first event', async (t) => {
  for (const match of [
    'event.type.startWith("x")',
    'foo(event.type)',
    '1 + "a" == event.n',
    'has(event)',
    '1 == "1"',
  ]) {
    await t.throwsAsync(matches(match, {}), { message: /^invalid routing rule / }, match);
  }
});

test('a written pattern that is none is told at once, wherever it stands', async (t) => {
  for (const match of [
    'matches(event.type, "[")',
    "event.type.matches(r'(\\d')",
    'event.n == 1 && (["a"].exists(x, x.matches("*")) ? true : false)',
    '{"a": event.type.matches("a" + event.n) || event.type.matches("(?<=a)b")}["a"]',
  ]) {
    await t.throwsAsync(matches(match, {}), { message: /^invalid routing rule .*: .*regexp/ }, match);
  }
});
