/**
 * A way to a broker on which it knows no more than one of long ago: what is asked in a version that came later is not
 * answered, as that one would not. The broker behind it is a real one of today, which still speaks the old versions.
 */

import { connect, createServer, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';

/** The highest version of each request that brokers of a release know; keys as in Kafka's protocol. */
const KNOWN = {
  '0.11': { 0: 3, 1: 5, 2: 2, 3: 4, 8: 3, 9: 3, 10: 1, 11: 2, 12: 1, 13: 1, 14: 1, 17: 0, 18: 1, 22: 0 },
  '2.0': { 0: 6, 1: 8, 2: 3, 3: 6, 8: 4, 9: 4, 10: 2, 11: 3, 12: 2, 13: 2, 14: 2, 17: 1, 18: 2, 22: 1, 36: 0 },
  '2.7': { 0: 8, 1: 12, 2: 5, 3: 9, 8: 8, 9: 7, 10: 3, 11: 7, 12: 4, 13: 4, 14: 5, 17: 1, 18: 3, 22: 4, 36: 2 },
  '3.0': { 0: 9, 1: 12, 2: 7, 3: 11, 8: 8, 9: 8, 10: 4, 11: 7, 12: 4, 13: 4, 14: 5, 17: 1, 18: 3, 22: 4, 36: 2 },
} as const;

export type Release = keyof typeof KNOWN;
export const RELEASES = Object.keys(KNOWN) as Release[];

const API_VERSIONS = 18;
const UNSUPPORTED_VERSION = 35;

/** Listens on `port`, which the broker at `target` advertises, until the test ends. Gives the requests that were too new. */
export async function openOldBroker(
  t: ExecutionContext,
  port: number,
  target: string,
  release: Release,
): Promise<readonly string[]> {
  const known: Readonly<Record<number, number>> = KNOWN[release];
  const tooNew: string[] = [];
  const server = createServer((client: Socket) => {
    const [host = '', brokerPort] = target.split(':');
    const broker = connect(Number(brokerPort), host);
    const asked = new Set<number>();
    client.on('data', frames((frame) => {
      const [api, version, correlation] = [frame.readInt16BE(4), frame.readInt16BE(6), frame.readInt32BE(8)];
      if (version <= (known[api] ?? -1)) {
        if (api === API_VERSIONS) asked.add(correlation);
        return broker.write(frame);
      }
      if (api === API_VERSIONS) return client.write(refusal(correlation));
      tooNew.push(`request ${api} in version ${version}`);
      return client.destroy();
    })); // prettier-ignore
    broker.on('data', frames((frame) => {
      client.write(asked.delete(frame.readInt32BE(4)) ? lowered(frame, known) : frame);
    })); // prettier-ignore
    for (const socket of [client, broker]) {
      socket.on('error', () => undefined).on('close', () => (client.destroy(), broker.destroy()));
    }
  });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  return tooNew;
}

/** Takes chunks and gives whole frames, their sizes first. */
function frames(take: (frame: Buffer) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0);
      take(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
  };
}

/** The answer to ApiVersions in a version that is not known, as brokers before 2.4 gave it. */
function refusal(correlation: number): Buffer {
  const frame = Buffer.alloc(14);
  frame.writeInt32BE(10, 0);
  frame.writeInt32BE(correlation, 4);
  frame.writeInt16BE(UNSUPPORTED_VERSION, 8);
  return frame;
}

/** The answer to ApiVersions with nothing in it that is not known. */
function lowered(frame: Buffer, known: Readonly<Record<number, number>>): Buffer {
  const entries: Buffer[] = [];
  const count = frame.readInt32BE(10);
  const behind = 14 + count * 6;
  for (let at = 14; at < behind; at += 6) {
    const most = known[frame.readInt16BE(at)];
    if (most === undefined) continue;
    const entry = Buffer.from(frame.subarray(at, at + 6));
    entry.writeInt16BE(Math.min(most, entry.readInt16BE(4)), 4);
    entries.push(entry);
  }
  const head = Buffer.from(frame.subarray(0, 14));
  head.writeInt32BE(entries.length, 10);
  const all = Buffer.concat([head, ...entries, frame.subarray(behind)]);
  all.writeInt32BE(all.length - 4, 0);
  return all;
}
