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
