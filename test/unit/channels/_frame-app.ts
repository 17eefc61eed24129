/** An app at the frames of HTTP/2, and a client that calls it. */

import { createServer, type AddressInfo, type Socket } from 'node:net';
import type { ExecutionContext } from 'ava';
import { GrpcClient } from '../../../src/channels/grpc-client.ts';
import { framed } from '../../../src/channels/framing.ts';
import { frame, headersFrame, PREFACE, type Field } from '../../_support/frames.ts';

export const [DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION] = [
  0, 1, 3, 4, 6, 7, 8, 9,
];
export const [END_STREAM, END_HEADERS, PADDED, PRIORITY] = [1, 4, 8, 32];
export const OK: Field[] = [
  [':status', '200'],
  ['content-type', 'application/grpc'],
];
export const DONE: Field[] = [['grpc-status', '0']];
export const ANSWER = framed([Buffer.from('yes')]);

export const answered = (stream: number): Buffer =>
  Buffer.concat([headersFrame(stream, OK), frame(DATA, 0, stream, ANSWER), headersFrame(stream, DONE, true)]);

export interface Got {
  readonly type: number;
  readonly flags: number;
  readonly stream: number;
  readonly payload: Buffer;
}

export interface App {
  readonly client: GrpcClient;
  readonly got: Got[];
  readonly sockets: Socket[];
}

export const number32 = (...values: number[]): Buffer =>
  Buffer.concat(
    values.map((value) => {
      const bytes = Buffer.alloc(4);
      bytes.writeUInt32BE(value);
      return bytes;
    }),
  );

export const settings = (...pairs: (readonly [id: number, value: number])[]): Buffer =>
  frame(
    SETTINGS,
    0,
    0,
    Buffer.concat(pairs.map(([id, value]) => Buffer.concat([Buffer.from([0, id]), number32(value)]))),
  );

/** `onFrame` answers each frame but the settings; `first` is what the app begins with. */
export async function startApp(
  t: ExecutionContext,
  onFrame: (got: Got, socket: Socket) => void,
  first = settings(),
  maxMessageBytes = 1 << 20,
): Promise<App> {
  const [got, sockets]: [Got[], Socket[]] = [[], []];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.setNoDelay(true).on('error', () => undefined);
    socket.write(first);
    let bytes = Buffer.alloc(0);
    let skip = PREFACE.length;
    socket.on('data', (piece) => {
      bytes = Buffer.concat([bytes, piece]);
      for (;;) {
        const head = bytes.subarray(skip);
        if (head.length < 9 || head.length < 9 + head.readUIntBE(0, 3)) return;
        const length = head.readUIntBE(0, 3);
        const one = {
          type: head[3],
          flags: head[4],
          stream: head.readUInt32BE(5),
          payload: head.subarray(9, 9 + length),
        };
        got.push(one as Got);
        bytes = head.subarray(9 + length);
        skip = 0;
        if (one.type !== SETTINGS) onFrame(one as Got, socket);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const more = { maxMessageBytes, idleMs: 60_000, onCall: undefined };
  const client = new GrpcClient({ host: '127.0.0.1', port, tls: false, ...more });
  t.teardown(() => {
    client.close();
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { client, got, sockets };
}

export const call = (app: App, message = Buffer.alloc(0), metadata: string[] = []): Promise<Buffer> =>
  app.client.call('/a.B/C', message, metadata, new AbortController().signal);

/** Answers a call when its request is whole. */
export const onRequest =
  (answer: (stream: number, socket: Socket) => void) =>
  ({ flags, stream, type }: Got, socket: Socket): void => {
    if (type === DATA && (flags & END_STREAM) !== 0) answer(stream, socket);
  };

export const answering = (bytes: (stream: number) => Buffer): ReturnType<typeof onRequest> =>
  onRequest((stream, socket) => void socket.write(bytes(stream)));
