/** Numbers, choices and damage from a seed: the same every time. */

export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to below `limit` (mulberry32). */
  below(limit: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  many<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make);
  }

  /** A text that is likely to be trouble. */
  text(): string {
    if (this.chance(60)) return this.pick(TROUBLE);
    return String.fromCodePoint(...this.many(12, () => this.below(this.chance(80) ? 0x80 : 0xd800)));
  }

  /** Any JSON value, at most `depth` levels deep. */
  json(depth = 4): unknown {
    const kind = this.below(depth > 0 ? 8 : 5);
    if (kind === 0) return this.text();
    if (kind === 1) return this.pick([0, -0, 1e308, 1.5, -1, 2 ** 53, 12345678901234567890, NaN]);
    if (kind === 2) return this.pick([true, false, null]);
    if (kind < 5) return this.text();
    if (kind === 5) return this.many(5, () => this.json(depth - 1));
    return Object.fromEntries(this.many(6, () => [this.text(), this.json(depth - 1)]));
  }

  /** Bytes with some of them changed, taken out, doubled or replaced. */
  damage(bytes: Buffer): Buffer {
    let out = Buffer.from(bytes);
    for (let i = 1 + this.below(4); i > 0; i--) {
      const at = this.below(out.length + 1);
      const length = 1 + this.below(this.chance(80) ? 4 : 64);
      const piece = this.pick([
        () => Buffer.from(this.pick(TROUBLE)),
        () => Buffer.from([this.below(256)]),
        () => out.subarray(at, at + length),
        () => Buffer.alloc(length, this.below(256)),
        () => Buffer.alloc(0),
      ])();
      out = Buffer.concat([out.subarray(0, at), piece, out.subarray(this.chance(50) ? at : at + length)]);
    }
    return out;
  }
}

const TROUBLE = [
  ...[
    '',
    ' ',
    '0',
    '-1',
    'null',
    'true',
    '{}',
    '[]',
    '""',
    '"',
    '\\',
    '\\u0000',
    '\u0000',
    '\r\n',
    '\n',
    '\t',
    '%',
    '%2',
    '%ff',
  ],
  ...[
    '%2F',
    '..',
    '/',
    '//',
    '?',
    '#',
    '&',
    '=',
    '+',
    ';',
    ':',
    ',',
    '.',
    '*',
    '$',
    '${HOME}',
    '{uuid}',
    '{appID}',
    '__proto__',
  ],
  ...[
    'constructor',
    'toString',
    'hasOwnProperty',
    'é',
    '€',
    '😀',
    '\ud800',
    '\u2028',
    '\ufeff',
    'NaN',
    'Infinity',
    '1e400',
  ],
  ...[
    '9'.repeat(400),
    'a'.repeat(300),
    '{'.repeat(200),
    '['.repeat(200),
    '('.repeat(200),
    '!'.repeat(200),
    '"\\'.repeat(60),
  ],
  ...[
    'cloudevent.id',
    'cloudevent.traceid',
    'rawPayload',
    'ttlInSeconds',
    'content-type',
    'content-length',
    'ce_id',
    'ce_',
  ],
  ...[
    'transfer-encoding',
    'connection',
    'host',
    'te',
    'upgrade',
    ':path',
    ':status',
    'grpc-timeout',
    'x-bin',
    'grpc-status',
  ],
  ...[
    'application/json',
    'application/cloudevents+json',
    'application/octet-stream',
    'text/plain',
    'APPLICATION/JSON;x',
  ],
  ...[
    '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    '00-',
    'event',
    'event.type',
    'pubsub',
    'fuzzed',
    'nowhere',
  ],
];
