import test from 'ava';
import { Teller } from '../../../src/lib/teller.ts';
import { contextWith } from '../../_support/broker-site.ts';

test('what fails for many topics over and over is not told without end', (t) => {
  const lines: string[] = [];
  const teller = new Teller(contextWith(lines).log, 'a server');
  for (let round = 0; round < 10; round++) {
    for (let topic = 0; topic < 500; topic++) teller.note(`topic ${topic} fails`);
  }
  t.is(new Set(lines).size, lines.length);
  t.is(lines.length, 101);
  t.is(lines[0], 'warn topic 0 fails');
  t.is(lines.at(-1), 'warn a server: there is more of this, which is not told for now');
});
