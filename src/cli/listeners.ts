/** Who listens on which port, where the system tells (Linux); elsewhere nobody is known. */

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { membersOf } from '../lib/process-table.ts';

const LISTEN = '0A';

/** Ports by the inode of their listening socket. */
function listeningSockets(): Map<string, number> {
  const lines = ['tcp', 'tcp6'].flatMap((name) => read(`/proc/net/${name}`).split('\n').slice(1));
  const fields = lines.map((line) => line.trim().split(/\s+/)).filter((parts) => parts[3] === LISTEN);
  return new Map(fields.map((parts) => [parts[9] as string, Number.parseInt(parts[1]?.split(':').at(-1) ?? '', 16)]));
}

function portsOf(pid: number, sockets: ReadonlyMap<string, number>): number[] {
  return names(`/proc/${pid}/fd`).flatMap((fd) => {
    const inode = /^socket:\[(\d+)\]$/.exec(link(`/proc/${pid}/fd/${fd}`))?.[1];
    return sockets.get(inode ?? '') ?? [];
  });
}

const pids = (): number[] =>
  names('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);

/** The ports on which a process of the group listens, each once. */
export function portsOfGroup(group: number): number[] {
  const sockets = listeningSockets();
  return [...new Set((membersOf(group) ?? []).flatMap((pid) => portsOf(pid, sockets)))];
}

/** The process that listens on the port. */
export function holderOf(port: number): { pid: number; name: string } | undefined {
  const sockets = new Map([...listeningSockets()].filter(([, one]) => one === port));
  if (sockets.size === 0) return undefined;
  const pid = pids().find((one) => portsOf(one, sockets).length > 0);
  return pid === undefined ? undefined : { pid, name: read(`/proc/${pid}/comm`).trim() };
}

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
}

function names(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}
