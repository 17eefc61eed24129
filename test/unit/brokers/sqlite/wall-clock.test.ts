import test from 'ava';
import { WallClock } from '../../../../src/brokers/sqlite/wall-clock.ts';

test('a clock that was set back is noticed until that is accepted, one that runs or was set forward is not', (t) => {
  let [wall, steady] = [1e12, 0];
  const clock = new WallClock(
    () => wall,
    () => steady,
  );
  t.false(clock.wasSetBack);
  wall += 2000;
  steady += 2000;
  t.false(clock.wasSetBack);
  wall += 3_600_000; // set forward, or the machine slept
  t.false(clock.wasSetBack);
  wall -= 3_600_000;
  t.true(clock.wasSetBack);
  t.true(clock.wasSetBack);
  clock.accept();
  t.false(clock.wasSetBack);
});

test('a clock that loses a little again and again is noticed when that is a second', (t) => {
  let wall = 1e12;
  const clock = new WallClock(
    () => wall,
    () => 0,
  );
  const seen = [400, 400, 400].map((lost) => {
    wall -= lost;
    return clock.wasSetBack;
  });
  t.deepEqual(seen, [false, false, true]);
});
