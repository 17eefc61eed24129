import { type Instance, instances } from '../lib/registry.ts';
import type { Call } from './commands.ts';
import { Exit } from './failure.ts';
import { printData, table } from './output.ts';

const TITLES = [
  'APP ID',
  'HTTP PORT',
  'GRPC PORT',
  'APP PORT',
  'COMMAND',
  'AGE',
  'CREATED',
  'DAPRD PID',
  'CLI PID',
  'APP PID',
];

/** Prints the sidecars that run, oldest first. The JSON keys are those of Dapr's own command, and more. */
export async function list({ options, home }: Call): Promise<number> {
  const rows = instances(home).map(describe);
  await printData(rows, options.text('output'), () => table(TITLES, rows.map(cells)));
  return Exit.done;
}

type Row = ReturnType<typeof describe>;

function describe(instance: Instance) {
  const started = new Date(instance.startedAt);
  return {
    appId: instance.appId,
    httpPort: instance.httpPort,
    grpcPort: instance.grpcPort,
    appPort: instance.appPort,
    metricsEnabled: instance.metricsPort > 0,
    metricsPort: instance.metricsPort,
    command: instance.command,
    age: age(Date.now() - started.getTime()),
    created: localTime(started),
    daprdPid: instance.pid,
    cliPid: instance.cliPid,
    appPid: instance.appPid,
    appProtocol: instance.appProtocol,
    resourcePaths: instance.resourcesPaths,
    version: instance.version,
  };
}

const orEmpty = (number: number): string => (number > 0 ? String(number) : '');

function cells(row: Row): string[] {
  const command = row.command.length > 20 ? `${row.command.slice(0, 17)}...` : row.command;
  const ports = [row.httpPort, row.grpcPort, row.appPort].map(orEmpty);
  return [row.appId, ...ports, command, row.age, row.created, ...[row.daprdPid, row.cliPid, row.appPid].map(orEmpty)];
}

/** The largest unit that fits: 45s, 12m, 3h, 2d. */
function age(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86_400)}d`;
}

/** As in 2026-08-01 10:20.30, local time, which is how Dapr's own command writes it. */
function localTime(date: Date): string {
  const two = (number: number): string => String(number).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}.${two(date.getSeconds())}`;
}
