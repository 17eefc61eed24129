/** Waiting until the app listens. */

import { connect } from 'node:net';
import { sleep } from '../lib/sleep.ts';

const DIAL_TIMEOUT_MS = 500;
const PAUSE_MS = 100;
const TELL_EVERY = 100;

/** Resolves with true when something accepts connections there, with false when `signal` aborts first. */
export async function waitForPort(
  host: string,
  port: number,
  signal: AbortSignal,
  onStillWaiting: () => void,
): Promise<boolean> {
  for (let tries = 1; !signal.aborted; tries++) {
    if (await accepts(host, port)) return true;
    if (tries % TELL_EVERY === 0) onStillWaiting();
    await sleep(PAUSE_MS, signal);
  }
  return false;
}

/** Whether something accepts connections there now. */
export function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: DIAL_TIMEOUT_MS });
    const finish = (accepted: boolean): void => {
      socket.destroy();
      resolve(accepted);
    };
    socket.once('connect', () => finish(true));
    socket.once('timeout', () => finish(false));
    socket.once('error', () => finish(false));
  });
}
