import { isUtf8 } from 'node:buffer';
import test from 'ava';
import { bulkBody } from '../../../src/channels/bulk-body.ts';
import { eventOf } from './_event.ts';

test('an event that is no UTF-8 does not make the batch unreadable', (t) => {
  const odd = { ...eventOf(), body: Buffer.from('{"id":"\xff"}', 'latin1') };
  const body = bulkBody([odd, eventOf()], ['a', 'b']);
  t.true(isUtf8(body));
  const { entries } = JSON.parse(body.toString()) as { entries: { event: { id: string } }[] };
  t.deepEqual(
    entries.map(({ event }) => event.id),
    ['\ufffd', '1'],
  );
});
