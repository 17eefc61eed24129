/** HTTP/2 written by hand, for what no library sends. */

import { createServer, type AddressInfo, type Socket } from 'node:net';

const [HEADERS, SETTINGS] = [1, 4] as const;
const [END_STREAM, END_HEADERS, ACK] = [1, 4, 1] as const;
const HEAD_BYTES = 9;
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export type Field = readonly [name: string, value: string];

export function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** HPACK without its tables: each field spelt out. Only short ones. */
export const fields = (list: readonly Field[]): Buffer =>
  Buffer.concat(
    list.map((field) =>
      Buffer.concat([
        Buffer.from([0]),
        ...field.map((text) => {
          const bytes = Buffer.from(text).subarray(0, 126);
          return Buffer.concat([Buffer.from([bytes.length]), bytes]);
        }),
      ]),
    ),
  );

/** A whole header block, which may end its stream. */
export const headersFrame = (stream: number, list: readonly Field[], isLast = false): Buffer =>
  frame(HEADERS, isLast ? END_HEADERS | END_STREAM : END_HEADERS, stream, fields(list));

export interface FrameApp {
  readonly port: number;
  close(): void;
}

/** An app that answers each call with bytes; where there are none it cuts the connection. */
export async function startFrameApp(answer: (stream: number) => Buffer | undefined): Promise<FrameApp> {
  const server = createServer((socket: Socket) => {
    socket.on('error', () => undefined);
    socket.write(Buffer.concat([frame(SETTINGS, 0, 0, Buffer.alloc(0)), frame(SETTINGS, ACK, 0, Buffer.alloc(0))]));
    let rest = Buffer.alloc(0);
    let skip = PREFACE.length;
    socket.on('data', (piece: Buffer) => {
      rest = Buffer.concat([rest, piece]);
      while (rest.length >= skip + HEAD_BYTES) {
        rest = rest.subarray(skip);
        skip = HEAD_BYTES + rest.readUIntBE(0, 3);
        if (rest[3] !== HEADERS) continue;
        const bytes = answer(rest.readUInt32BE(5));
        if (!bytes) return void socket.destroy();
        socket.write(bytes);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { port: (server.address() as AddressInfo).port, close: () => server.close() };
}
