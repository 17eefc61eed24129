import { BinaryWriter } from '@bufbuild/protobuf/wire';

/** What is larger is not kept for the next message. */
const MAX_KEPT_BYTES = 2 ** 20;
let writer = new BinaryWriter();

/** A message's bytes. One writer serves all messages: to let a new one grow costs as much as to fill it. */
export function encode<T>(type: { encode(message: T, writer: BinaryWriter): BinaryWriter }, message: T): Uint8Array {
  try {
    const bytes = type.encode(message, writer).finish();
    if (bytes.length > MAX_KEPT_BYTES) writer = new BinaryWriter();
    return bytes;
  } catch (error) {
    writer = new BinaryWriter(); // half a message is in the other
    throw error;
  }
}
