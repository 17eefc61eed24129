/** Ports: one number on several addresses, fixed or the first that is free; and the sockets that may take their place. */

/** `search`: any free port from `port` up but `except`; port 0 is whatever the system gives. */
export interface PortChoice {
  readonly port: number;
  readonly search: boolean;
  /** A port that is somebody else's though nobody listens there yet. */
  readonly except?: number;
}

/** The socket of an API in a directory of sockets, by Dapr's naming. */
export const socketPath = (directory: string, appId: string, protocol: 'http' | 'grpc'): string =>
  `${directory}/dapr-${appId}-${protocol}.socket`;

/** Without the byte that ends it. */
const MAX_SOCKET_BYTES = process.platform === 'linux' ? 107 : 103;

/** What is wrong with the name of a socket, of which the system only says that it is invalid. */
export function socketFault(path: string): string | undefined {
  const bytes = Buffer.byteLength(path);
  if (bytes <= MAX_SOCKET_BYTES) return undefined;
  return `the socket ${path} has ${bytes} bytes, and the system takes ${MAX_SOCKET_BYTES}: a shorter directory or app id is needed`;
}

/** Binds one address; resolves with the port that was bound, rejects with an error whose text holds the system's code. */
export type Bind = (address: string, port: number) => Promise<number>;
/** Undoes one `Bind`. */
export type Release = (address: string, port: number) => Promise<void>;

const LAST_PORT = 65_535;

/**
 * Binds `addresses` to one port and resolves with it. The port must be free on all of them; an address that this
 * machine does not have is passed over as long as another one could be bound. Rejects when that cannot be had.
 */
export async function listenOn(
  addresses: readonly string[],
  choice: PortChoice,
  bind: Bind,
  release: Release,
): Promise<number> {
  for (let port = choice.port; ; port++) {
    if (choice.search && port === choice.except) continue;
    const { bound, errors } = await bindAll(addresses, port, bind);
    const first = bound.values().next().value;
    const taken = errors.find((error) => error.message.includes('EADDRINUSE'));
    if (first !== undefined && !taken) return first;
    for (const [address, got] of bound) await release(address, got);
    if (!taken || !choice.search || port === LAST_PORT)
      throw taken ?? errors[0] ?? new Error('no address to listen on');
  }
}

/** Every address on the port that the first one got. */
async function bindAll(
  addresses: readonly string[],
  port: number,
  bind: Bind,
): Promise<{ bound: Map<string, number>; errors: Error[] }> {
  const bound = new Map<string, number>();
  const errors: Error[] = [];
  for (const address of addresses) {
    await bind(address, bound.values().next().value ?? port).then(
      (got) => bound.set(address, got),
      (error: Error) => errors.push(error),
    );
  }
  return { bound, errors };
}
