import test from 'ava';
import { elementsOf, JsonFault, membersOf, valueEnd } from '../../../src/lib/json-bytes.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
const faultOf = (text: string): string => {
  try {
    valueEnd(bytes(text), 0);
    return '';
  } catch (error) {
    if (error instanceof JsonFault) return error.message;
    throw error;
  }
};

test('a value ends where JSON.parse says it does', (t) => {
  const values = [
    ...['0', '-1.5e+10', '1E5', 'true', 'false', 'null', '""', '"a\\u00e9\\n\\"b"', '"żółć 😀"', '[]', '{}', '[1,2]'],
    ...['{"a":{"b":[{}]}}', '[[[[]]],{"x":[1,{"y":null}]}]', ' \t\r\n{"a" : [ 1 , 2 ] } '],
  ];
  for (const text of values) {
    const end = valueEnd(bytes(text), 0);
    t.deepEqual(JSON.parse(bytes(text).toString('utf8', 0, end)), JSON.parse(text), text);
  }
});

test('what follows the first value is not read', (t) => {
  t.is(valueEnd(bytes('{"a":1} x'), 0), 7);
  t.is(valueEnd(bytes('12 x'), 0), 2);
});

test('it agrees with JSON.parse on what is JSON, for thousands of damaged texts', (t) => {
  const seeds = ['{"a":[1,2.5e3,{"b":"c\\u0041"}],"d":null}', '["x",true,false,-0.1]', '{"k":{"l":{"m":[[]]}}}'];
  let random = 42;
  const next = (below: number): number => (random = (random * 1103515245 + 12345) % 2147483648) % below;
  const alphabet = '{}[]",:0123456789.eE+-truefalsn\\u \n';
  for (let i = 0; i < 5000; i++) {
    const text = [...(seeds[next(seeds.length)] as string)];
    for (let k = 0; k <= next(3); k++) text[next(text.length)] = alphabet[next(alphabet.length)] as string;
    const damaged = text.join('');
    let isJson = true;
    try {
      JSON.parse(damaged);
    } catch {
      isJson = false;
    }
    const fault = faultOf(damaged);
    const whole = fault === '' && /^\s*$/.test(damaged.slice(valueEnd(bytes(damaged), 0)));
    t.is(whole, isJson, damaged);
  }
});

test('a string of any length ends at its quote, and a fault is found wherever it stands', (t) => {
  for (let length = 0; length < 20; length++) {
    const text = `"${'é'.repeat(length % 3)}${'x'.repeat(length)}"`;
    t.is(valueEnd(bytes(`${text}yyyy"`), 0), Buffer.byteLength(text));
    t.is(faultOf(text.slice(0, -1)), 'unexpected EOF');
    for (let at = 1; at <= length; at++) {
      const odd = (char: string): string => `"${'x'.repeat(at - 1)}${char}${'x'.repeat(length - at)}"`;
      t.is(faultOf(odd('\n')), "invalid character '\n' in string literal");
      t.is(faultOf(odd('\\q')), "invalid character 'q' in string escape code");
      t.is(valueEnd(bytes(`${odd('\\"')}yyyy`), 0), length + 3);
    }
  }
});

test('faults are worded as Go words them', (t) => {
  t.is(faultOf(''), 'EOF');
  t.is(faultOf('{x'), "invalid character 'x' looking for beginning of object key string");
  t.is(faultOf('{"a":'), 'unexpected EOF');
  t.is(faultOf('{"a" 1}'), "invalid character '1' after object key");
  t.is(faultOf('{"a":1 "b"}'), "invalid character '\"' after object key:value pair");
  t.is(faultOf('[1 2]'), "invalid character '2' after array element");
  t.is(faultOf('hello'), "invalid character 'h' looking for beginning of value");
  t.is(faultOf('trux'), "invalid character 'x' in literal true (expecting 'e')");
  t.is(faultOf('"\\x"'), "invalid character 'x' in string escape code");
});

test('ten thousand levels are read, more are refused, and neither overflows the stack', (t) => {
  const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  t.is(valueEnd(bytes(nested(10_000)), 0), 20_000);
  t.is(faultOf(nested(200_000)), 'exceeded max depth');
});

test('the members of an object are found with their bytes', (t) => {
  const text = ' {"a" : 1.0, "b\\u0041":{"c":[]} , "a":null} rest';
  const members = membersOf(bytes(text)).map(({ key, from, to }) => [key, text.slice(from, to)]);
  t.deepEqual(members, [
    ['a', '1.0'],
    ['bA', '{"c":[]}'],
    ['a', 'null'],
  ]);
  t.deepEqual(membersOf(bytes('{}')), []);
});

test('what is no object has no members', (t) => {
  t.throws(() => membersOf(bytes('[1]')), { message: /cannot unmarshal array/ });
  t.throws(() => membersOf(bytes('null')), { instanceOf: JsonFault });
  t.throws(() => membersOf(bytes('{"a":1')), { message: 'unexpected EOF' });
});

test('the elements of an array are found, objects with their members and their end', (t) => {
  const text = '[ 1,{"a":[2]} ,"x"]';
  t.deepEqual(elementsOf(bytes(text)), [2, { members: [{ key: 'a', from: 9, to: 12 }], end: 13 }, 15]);
  t.deepEqual(elementsOf(bytes('[]')), []);
  t.is(elementsOf(bytes('{}')), undefined);
  t.throws(() => elementsOf(bytes('[{"a":1} 2]')), { message: "invalid character '2' after array element" });
});
