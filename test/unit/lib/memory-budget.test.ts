import test from 'ava';
import { budgetBytes } from '../../../src/lib/memory-budget.ts';

test('the budget has room for several of the largest requests, and an end where they may have any size', (t) => {
  const least = 64 << 20;
  t.true(budgetBytes(4 << 20) >= least);
  t.true(budgetBytes(0) <= 1 << 30);
  t.is(budgetBytes(2 ** 30), 2 ** 32);
});
