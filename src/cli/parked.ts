import type { ParkedTopic } from '../core/parked.ts';
import { nearest } from '../lib/nearest.ts';
import type { Call } from './commands.ts';
import { apiToken } from './environment.ts';
import { Exit, Failure } from './failure.ts';
import type { Options } from './options.ts';
import { printData, table, warn } from './output.ts';
import { ask, errorOf, type Address, type ApiRequest } from './sidecar-api.ts';
import { nothingRuns, sidecarsOf, type Found } from './target.ts';

const DEFAULT_TIMEOUT_MS = 15_000;
const PLACE = ['APP ID', 'SIDECAR', 'PUBSUB', 'TOPIC', 'GROUP'];

/** A subscription of a sidecar. */
interface Row extends Omit<ParkedTopic, 'pubsubname'> {
  readonly appId: string;
  readonly sidecar: string;
  readonly pubsub: string;
}

/** What is asked, and where the answer is from. */
interface Asked {
  readonly address: Address;
  readonly row: Row;
}

type Send = (address: Address, method: ApiRequest['method'], path: string) => Promise<unknown>;

/** Prints what is parked of the subscriptions of sidecars that run, or has it delivered again. */
export async function parked({ options, home }: Call): Promise<number> {
  const send = sender(options);
  const sidecars = sidecarsOf({
    home,
    appId: options.text('app-id'),
    sidecar: options.text('sidecar'),
    sockets: options.text('unix-domain-socket'),
  });
  if (sidecars.length === 0) throw nothingRuns('dapr run --app-id app1 --app-port 5000 python app1.py');
  const { done, failed } = await each(sidecars, (one) => subscriptionsOf(one, send));
  const wanted = chosen(done.flat(), options).filter(({ row }) => row.parked !== 0);
  const exit = failed > 0 ? Exit.partly : Exit.done;
  return options.on('deliver') ? deliver(wanted, send, options, exit) : show(wanted, options, exit);
}

function sender(options: Options): Send {
  const token = apiToken(options.text('api-token'));
  const timeoutMs = options.duration('timeout') ?? DEFAULT_TIMEOUT_MS;
  return async (address, method, path) => {
    const answer = await ask(address, { method, path, token, timeoutMs });
    if (answer.status === 200) return JSON.parse(answer.body);
    const { code, message } = errorOf(answer);
    const unknown = 'it is an older one or of another make, or its Configuration does not allow the API "parked"';
    throw new Failure(`the sidecar at ${address.shown} refused ${method} ${path}`, {
      exit: answer.status === 401 ? Exit.refused : Exit.failed,
      code,
      why: `${answer.status} ${message}`,
      next: [
        answer.status === 401
          ? 'set DAPR_API_TOKEN, or add --api-token <token>'
          : answer.status === 404
            ? unknown
            : 'the sidecar’s log says more',
      ],
    });
  };
}

async function subscriptionsOf({ appId, address }: Found, send: Send): Promise<Asked[]> {
  const body = (await send(address, 'GET', '/v1.0/parked')) as { parked: readonly ParkedTopic[] };
  return body.parked.map(({ pubsubname: pubsub, ...rest }) => {
    return { address, row: { appId, sidecar: address.shown, pubsub, ...rest } };
  });
}

/** Throws a Failure where something was asked for that nobody subscribes to. */
function chosen(all: readonly Asked[], options: Options): readonly Asked[] {
  const pubsub = options.text('pubsub');
  const topic = options.text('topic');
  const fitting = all.filter(({ row }) => (pubsub ?? row.pubsub) === row.pubsub && (topic ?? row.topic) === row.topic);
  if (fitting.length > 0 || (pubsub ?? topic) === undefined) return fitting;
  const [typed, names] =
    topic === undefined ? [pubsub ?? '', all.map(({ row }) => row.pubsub)] : [topic, all.map(({ row }) => row.topic)];
  const near = nearest(typed, names);
  const asked = [topic === undefined ? '' : `topic "${topic}"`, pubsub === undefined ? '' : `component "${pubsub}"`];
  throw new Failure(`no sidecar that was asked subscribes to ${asked.filter((text) => text !== '').join(' of ')}`, {
    exit: Exit.notFound,
    code: 'NO_SUBSCRIPTION',
    why: `subscribed: ${all.map(({ row }) => `${row.pubsub}/${row.topic}`).join(', ') || 'nothing'}`,
    next: near === undefined ? ['dapr list'] : [`did you mean ${near}?`],
  });
}

async function show(wanted: readonly Asked[], options: Options, exit: number): Promise<number> {
  const rows = wanted.map(({ row }) => row);
  const cells = (row: Row): string[] => [
    ...placeOf(row),
    String(row.parked ?? '?'),
    row.oldestUnsettledMs === undefined ? '' : `${Math.round(row.oldestUnsettledMs / 1000)}s`,
    row.parked === undefined ? 'the broker does not answer' : reasonOf(row),
  ];
  const titles = [...PLACE, 'PARKED', 'OLDEST UNSETTLED', 'WHY'];
  await printData(rows, options.text('output'), () => table(titles, rows.map(cells)));
  return rows.some((row) => row.parked === undefined) ? Exit.partly : exit;
}

async function deliver(wanted: readonly Asked[], send: Send, options: Options, exit: number): Promise<number> {
  const { done, failed } = await each(wanted, async ({ address, row }) => {
    const path = `/v1.0/parked/${encodeURIComponent(row.pubsub)}/${encodeURIComponent(row.topic)}`;
    const { delivered } = (await send(address, 'POST', path)) as { delivered: number };
    return { row, delivered };
  });
  const rows = done.map(({ row: { appId, sidecar, pubsub, topic, group }, delivered }) => {
    return { appId, sidecar, pubsub, topic, group, delivered };
  });
  const cells = (row: (typeof rows)[number]): string[] => [...placeOf(row), String(row.delivered)];
  await printData(rows, options.text('output'), () => table([...PLACE, 'DELIVERED AGAIN'], rows.map(cells)));
  return failed > 0 ? Exit.partly : exit;
}

const placeOf = ({ appId, sidecar, pubsub, topic, group }: Omit<Row, 'parked'>): string[] => [
  appId,
  sidecar,
  pubsub,
  topic,
  group,
];

function reasonOf({ last }: Row): string {
  if (!last) return 'parked by another sidecar of the group';
  return `event ${last.event} after ${last.attempts} attempts, ${last.time}: ${last.reason}`;
}

/** What went well. What did not is said; where nothing did, the first failure is thrown. */
async function each<T, R>(all: readonly T[], work: (one: T) => Promise<R>): Promise<{ done: R[]; failed: number }> {
  const ends = await Promise.allSettled(all.map(work));
  const done = ends.flatMap((end) => (end.status === 'fulfilled' ? [end.value] : []));
  const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as Failure] : []));
  if (failures[0] && done.length === 0) throw failures[0];
  for (const { message, why } of failures) warn(why === '' ? message : `${message}: ${why}`);
  return { done, failed: failures.length };
}
