/**
 * Who is who among the consumers of a group. Each broker has a name of its own, which carries where and when its
 * process was started, so that whoever comes later on the same machine can tell that it is gone.
 */

import { createHash } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { isRunning, startTicks } from '../../lib/process-table.ts';

const PARKED = '!parked';
const RELEASED = '!released';
const UNPARKED = '!unparked';
/** Host, process id, its start in ticks, the place, a number within the process. */
const FORM = /^.*@[^@:]*:(\d+):(\d+):([0-9a-f]{12}):\d+(?:!parked)?$/s;

let brokers = 0;

/** The names that one broker uses in its group. */
export class ConsumerNames {
  /** Owns what is in hand. */
  readonly own: string;
  /** Owns what is parked. */
  readonly parked: string;
  /** Owns what nobody has in hand, see CLAIMABLE_MS: the same for all of the group, as the next one. */
  readonly released: string;
  /** Owns what was parked until somebody asked for it. */
  readonly unparked: string;

  constructor(group: string) {
    this.own = `${group}@${hostname()}:${process.pid}:${startTicks(process.pid) ?? 0}:${PLACE}:${++brokers}`;
    this.parked = this.own + PARKED;
    this.released = group + RELEASED;
    this.unparked = group + UNPARKED;
  }
}

/** Whether it is the name of one of our brokers, not of another make of sidecar. */
export const isOurs = (name: string): boolean => FORM.test(name);

/** Whether what the consumer owns is parked. */
export const isParked = (name: string): boolean => name.endsWith(PARKED) && isOurs(name);

/** Whether it is certain that the process behind the name has ended. */
export function isGone(name: string): boolean {
  const [, pid, ticks, place] = FORM.exec(name) ?? [];
  return place === PLACE && place !== NOWHERE && !isRunning(Number(pid), Number(ticks));
}

/** A place nobody can be compared with. */
const NOWHERE = '0'.repeat(12);
const PLACE = placeOf();

/**
 * Where process ids mean the same: this boot of this kernel, and the process namespace. Both are needed, a host name
 * is no proof: two containers, or two machines, may have the same.
 */
function placeOf(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
    const namespace = readlinkSync('/proc/self/ns/pid');
    if (boot === '' || startTicks(process.pid) === undefined) return NOWHERE;
    return createHash('sha256').update(`${boot} ${namespace} ${hostname()}`).digest('hex').slice(0, 12);
  } catch {
    return NOWHERE;
  }
}
