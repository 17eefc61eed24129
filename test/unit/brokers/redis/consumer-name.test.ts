import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';
import { ConsumerNames, isGone, isOurs, isParked } from '../../../../src/brokers/redis/consumer-name.ts';
import { startTicks } from '../../../../src/lib/process-table.ts';

/** The name that a broker in another process of this machine would have. */
const nameOf = (pid: number, ticks: number): string =>
  new ConsumerNames('orders').own.replace(/@([^:]+):\d+:\d+:/, `@$1:${pid}:${ticks}:`);

test('each broker has a name of its own, and one name for what is released is common to the group', (t) => {
  const [a, b] = [new ConsumerNames('orders'), new ConsumerNames('orders')];
  t.not(a.own, b.own);
  t.is(a.released, b.released);
  t.true([a.own, a.parked].every(isOurs));
  t.true(isParked(a.parked) && !isParked(a.own));
});

test('names of other makes and the released ones are not ours', (t) => {
  for (const name of ['orders', 'orders!released', 'orders@host', 'x!parked', '']) {
    t.false(isOurs(name) || isParked(name) || isGone(name), name);
  }
});

test('a group may be called anything', (t) => {
  for (const group of ['a@b:1:2', 'with space', 'line\nbreak', 'ключ', 'x!parked']) {
    const { own, parked } = new ConsumerNames(group);
    t.true(isOurs(own) && isParked(parked) && !isGone(own), group);
  }
});

test('a process that runs is not gone', (t) => {
  t.false(isGone(new ConsumerNames('orders').own));
  t.false(isGone(nameOf(process.ppid, startTicks(process.ppid) ?? 0)));
});

test('a process that ended is gone, and so is one whose number another has now', async (t) => {
  const child = spawn('true');
  const ended = nameOf(child.pid as number, startTicks(child.pid as number) ?? 0);
  await once(child, 'exit');
  t.true(isGone(ended));
  t.true(isGone(`${ended}!parked`));
  t.true(isGone(nameOf(process.pid, 1)));
});

test('of a process of another machine, or another namespace, nothing is known', (t) => {
  const elsewhere = nameOf(999_999_999, 1).replace(/[0-9a-f]{12}(?=:\d+$)/, '00112233aabb');
  t.true(isOurs(elsewhere));
  t.false(isGone(elsewhere));
});
