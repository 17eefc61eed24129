import test from 'ava';
import { pathPatterns } from '../../../src/observe/path-patterns.ts';

test('the most special pattern counts, in whatever order they stand', (t) => {
  const all = ['/', '/a/{id}', '/a/7', '/a', '/a/{id}/b', '/a/{id}/{rest...}', '/c/', '/d/{$}', 'e/{x}'];
  const cases: Readonly<Record<string, string>> = {
    '/': '/',
    '/a': '/a',
    '/a/': '/',
    '/a/1': '/a/{id}',
    '/a/7': '/a/7',
    '/a/7/b': '/a/{id}/b',
    '/a/7/c/d': '/a/{id}/{rest...}',
    '/c/x/y': '/c/',
    '/c': '/',
    '/d/': '/d/{$}',
    '/d/x': '/',
    '/e/1': 'e/{x}',
  };
  for (const patterns of [all, all.toReversed()]) {
    const patternOf = pathPatterns(patterns);
    for (const [path, wanted] of Object.entries(cases)) t.is(patternOf(path), wanted, path);
  }
  t.is(pathPatterns([])('/a'), undefined);
  t.is(pathPatterns(['/a'])('/b'), undefined);
});
