import type { Client } from './servers.ts';

/** Bytes that every server takes: its limit cannot be set to less. */
export const ALWAYS_TAKEN = 2 ** 20;

/**
 * The largest payload that the server takes, in bytes; Infinity where it does not say. Over a larger one it ends the
 * connection, mostly before its reason is read, and everything else that is on its way fails too. Rejects when the
 * server cannot be asked.
 */
export async function payloadLimit(client: Client): Promise<number> {
  try {
    const [, limit = Infinity] = (await client.call('config', ['GET', 'proto-max-bulk-len'])) as string[];
    return Number(limit);
  } catch (error) {
    if (error instanceof Error && error.name === 'ReplyError') return Infinity; // not for us, or not there
    throw error;
  }
}

export const tooLarge = (bytes: number, limit: number): string =>
  `${bytes} bytes of payload are more than the server takes (proto-max-bulk-len ${limit})`;
