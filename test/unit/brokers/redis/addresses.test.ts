import test from 'ava';
import { parseAddresses } from '../../../../src/brokers/redis/addresses.ts';

const at = (host: string, port: number): { host: string; port: number } => ({ host, port });

const CASES: readonly (readonly [hosts: string, port: number, expected: ReturnType<typeof at>[]])[] = [
  ['localhost', 0, [at('localhost', 6379)]],
  ['localhost:6380', 0, [at('localhost', 6380)]],
  ['localhost', 6380, [at('localhost', 6380)]],
  ['localhost:6380', 6380, [at('localhost', 6380)]],
  ['10.0.0.1', 0, [at('10.0.0.1', 6379)]],
  [' a:1 , b , c:3 ', 0, [at('a', 1), at('b', 6379), at('c', 3)]],
  ['a,b', 7000, [at('a', 7000), at('b', 7000)]],
  ['a,', 0, [at('a', 6379)]],
  ['::1', 0, [at('::1', 6379)]],
  ['::1', 6380, [at('::1', 6380)]],
  ['[::1]', 0, [at('::1', 6379)]],
  ['[::1]:6380', 0, [at('::1', 6380)]],
  ['[2001:db8::2]:6380,h', 0, [at('2001:db8::2', 6380), at('h', 6379)]],
];

for (const [hosts, port, expected] of CASES) {
  test(`redisHost '${hosts}' with redisPort ${port || 'not set'}`, (t) => {
    t.deepEqual(parseAddresses(hosts, port, 6379), expected);
  });
}

test('a port in redisHost that is not redisPort is an error, in a list too', (t) => {
  const message = /already contains port 6380, but redisPort is set to 6379; either remove the port/;
  t.throws(() => parseAddresses('localhost:6380', 6379, 6379), { message });
  t.throws(() => parseAddresses('a,[::1]:6380', 6379, 6379), { message });
});

test('a port that is none is an error', (t) => {
  t.throws(() => parseAddresses('localhost:66000', 0, 6379), { message: /66000/ });
});

test('a URL is no host, and what it says of a password is not told', (t) => {
  for (const hosts of ['redis://:s3cret@localhost:6379', 'me:s3cret@localhost:6379', 'redis://localhost/0']) {
    const { message } = t.throws(() => parseAddresses(hosts, 0, 6379));
    t.regex(message, /redisHost wants host or host:port, not/);
    t.notRegex(message, /s3cret/);
  }
});
