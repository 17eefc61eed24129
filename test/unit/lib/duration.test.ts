import test from 'ava';
import { formatGoDuration, parseDuration, parseGoDuration } from '../../../src/lib/duration.ts';

test('a Go duration is read in milliseconds', (t) => {
  t.is(parseGoDuration('1m30s'), 90_000);
  t.is(parseGoDuration('1.5h'), 5_400_000);
  t.is(parseGoDuration('250us'), 0.25);
  t.is(parseGoDuration('-2s'), -2000);
  t.is(parseGoDuration('0'), 0);
});

test('what Go refuses is refused', (t) => {
  for (const text of ['', '5', 's', '1x', '1s ', '1s2', 'abc']) t.is(parseGoDuration(text), undefined, text);
});

test('a bare number counts in the given unit', (t) => {
  t.is(parseDuration('5', 1000), 5000);
  t.is(parseDuration('5s', 1), 5000);
});

test('milliseconds are written as Go writes them', (t) => {
  t.is(formatGoDuration(5000), '5s');
  t.is(formatGoDuration(500), '500ms');
  t.is(formatGoDuration(90_000), '1m30s');
  t.is(formatGoDuration(3_600_000), '1h0m0s');
});
