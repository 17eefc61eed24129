import test from 'ava';
import { ResponseReader } from '../../../src/channels/http-response.ts';

function read(text: string, pieceBytes: number, isHead = false, limit = 0): ResponseReader & { left: number } {
  const bytes = Buffer.from(text, 'latin1');
  const reader = new ResponseReader(limit, isHead);
  let left = 0;
  for (let at = 0; at < bytes.length; at += pieceBytes) {
    const piece = Buffer.from(bytes.subarray(at, at + pieceBytes));
    left += reader.push(piece);
    piece.fill(0x2a); // what was read from is used for the next
  }
  return Object.assign(reader, { left });
}

const CASES: Readonly<Record<string, [response: string, expected: object, isHead?: boolean]>> = {
  'a body by its length': [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A:  b \r\n\r\nhello',
    { status: 200, text: 'hello', headers: ['content-length', '5', 'x-a', 'b'], isDone: true, keepsAlive: true },
  ],
  'an empty body': ['HTTP/1.1 500 \r\ncontent-length: 0\r\n\r\n', { status: 500, text: '', isDone: true }],
  'a body in chunks, with extensions and trailers': [
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nx: y\r\n\r\n',
    { text: 'abc0123456789', isDone: true, keepsAlive: true },
  ],
  'an empty body in chunks': [
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n',
    { text: '', isDone: true },
  ],
  'no body where the status says so': [
    'HTTP/1.1 204 No Content\r\nx: y\r\n\r\n',
    { status: 204, isDone: true, left: 0 },
  ],
  'no body of an answer to HEAD': ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', { isDone: true, text: '' }, true],
  'no body with 304 whatever it says': ['HTTP/1.1 304 X\r\nContent-Length: 5\r\n\r\n', { isDone: true, text: '' }],
  'an interim answer before the real one': [
    'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na',
    { status: 200, text: 'a', headers: ['content-length', '1'], isDone: true },
  ],
  'lines that end with LF alone': [
    'HTTP/1.1 200 OK\nContent-Length: 5\n\n\r\n\r\n.',
    { text: '\r\n\r\n.', isDone: true },
  ],
  'lines that end either way': ['HTTP/1.1 200 OK\r\nContent-Length: 2\n\r\nab', { text: 'ab', isDone: true }],
  'a length that is said twice': ['HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na', { text: 'a' }],
  'a connection that is closed afterwards': [
    'HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 1\r\n\r\na',
    { text: 'a', isDone: true, keepsAlive: false },
  ],
  'HTTP/1.0 closes': ['HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na', { isDone: true, keepsAlive: false }],
  'HTTP/1.0 that does not': [
    'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=7, max=10\r\nContent-Length: 1\r\n\r\na',
    { isDone: true, keepsAlive: true, keepsAliveMs: 7000 },
  ],
  'a body to the end of the connection': [
    'HTTP/1.1 200 OK\r\n\r\nabc',
    { text: 'abc', isDone: false, keepsAlive: false },
  ],
  'more than was asked for': ['HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nabc', { text: 'a', isDone: true, left: 2 }],
};
for (const [name, [response, expected, isHead]] of Object.entries(CASES)) {
  test(`${name}, however it is cut`, (t) => {
    for (const pieceBytes of [response.length, 1, 2, 7]) {
      const reader = read(response, pieceBytes, isHead);
      t.like(
        { ...reader, text: reader.content.toString(), isDone: reader.isDone },
        expected,
        `pieces of ${pieceBytes}`,
      );
      if (reader.isDone) t.notThrows(() => reader.finish());
    }
  });
}

const FAULTS: Readonly<Record<string, string>> = {
  'no HTTP': 'SSH-2.0-x\r\n\r\n',
  'another version': 'HTTP/2.0 200 OK\r\n\r\n',
  'a status that is none': 'HTTP/1.1 20x OK\r\n\r\n',
  'a status below all': 'HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n',
  'another protocol': 'HTTP/1.1 101 Switching\r\nupgrade: x\r\n\r\n',
  'a header without a colon': 'HTTP/1.1 200 OK\r\nabc\r\n\r\n',
  'a folded header': 'HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n',
  'a length that is none': 'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
  'lengths that differ': 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  'an encoding that nobody asked for': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
  'a chunk without a size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n',
  'a chunk longer than its size': 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n',
  'a head without end': `HTTP/1.1 200 OK\r\n${'a: b\r\n'.repeat(20_000)}`,
  'a line between chunks without end': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(100_000)}`,
  'a body past the limit': `HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n`,
  'chunks past the limit': `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n${'x'.repeat(1001)}`,
};
for (const [name, response] of Object.entries(FAULTS)) {
  test(`${name} is refused`, (t) => {
    for (const pieceBytes of [response.length, 1000]) t.throws(() => read(response, pieceBytes, false, 1000));
  });
}

test('an end within an answer is a fault, and after a body to the end is its end', (t) => {
  for (const text of ['', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\na']) {
    t.throws(() => read(text, 100).finish(), { message: 'other side closed' });
  }
  const reader = read('HTTP/1.1 200 OK\r\n\r\nabc', 4);
  reader.finish();
  t.true(reader.isDone);
});
