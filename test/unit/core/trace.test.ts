import test from 'ava';
import { baggageFault } from '../../../src/core/baggage.ts';
import { binaryOf, traceparentOf } from '../../../src/core/trace.ts';

const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

test('a trace in binary is the same trace', (t) => {
  const binary = binaryOf(TRACEPARENT) as Buffer;
  t.is(binary.toString('hex'), '00000af7651916cd43dd8448eb211c80319c01b7ad6b71692033310201');
  t.is(traceparentOf(binary), TRACEPARENT);
});

test('what is no trace in binary is none', (t) => {
  const binary = binaryOf(TRACEPARENT) as Buffer;
  const others = [Buffer.alloc(0), binary.subarray(0, 28), Buffer.alloc(29), Buffer.concat([binary, binary])];
  for (const other of others) t.is(traceparentOf(other), '');
  for (const text of ['', 'x', '00-1']) t.is(binaryOf(text), undefined);
});

test('baggage is members of key and value, with properties', (t) => {
  const good = ['', 'a=1', ' a = 1 , b=', 'a=1;p;q=2', 'user%20id=x', 'a=%C3%A4', 'a==b'];
  for (const text of good) t.is(baggageFault(text), undefined, text);
  const bad: [string, string][] = [
    ['a', 'invalid baggage list-member: "a"'],
    ['a=1,,b=2', 'invalid baggage list-member: ""'],
    ['=1', 'invalid key: ""'],
    ['a b=1', 'invalid key: "a b"'],
    ['a=b c', 'invalid value: "b c"'],
    ['a="b"', 'invalid value: "\\"b\\""'],
    ['a=%zz', 'invalid value: "%zz"'],
    ['a=1;=', 'invalid baggage list-member property: "="'],
    [`a=${'x'.repeat(8192)}`, 'baggage-string too large: 8194'],
    [Array.from({ length: 181 }, () => 'a=1').join(), 'too many list-members in baggage-string: 181'],
  ];
  for (const [text, fault] of bad) t.is(baggageFault(text), fault);
});
