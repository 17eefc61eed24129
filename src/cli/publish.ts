import type { Call } from './commands.ts';
import { apiToken, environment } from './environment.ts';
import { type OutgoingEvent, readEvents } from './events.ts';
import { Exit, usage } from './failure.ts';
import { printData, say } from './output.ts';
import { type Answers, bulkRequest, type Delivery, send, singleRequest } from './publish-request.ts';
import { chooseTarget, nothingRuns, type Target, type Wish } from './target.ts';

const DEFAULT_TIMEOUT_MS = 15_000;
const DEFAULT_BATCH = 100;

/** Publishes events: through the sidecar that fits best, or straight to the broker when none runs. */
export async function publish(call: Call): Promise<number> {
  const { options, operands } = call;
  const topic = options.text('topic');
  if (!topic) throw usage('which topic?', 'dapr publish --topic <name> --data <text>');
  const events = await readEvents(options, operands);
  const target = options.on('direct') ? undefined : await chooseTarget(wishOf(call));
  if (target) return publishThrough(target, call, topic, events);
  if (options.on('direct') === false) {
    throw nothingRuns(
      'dapr run --app-id myapp --dapr-http-port 3500',
      'or, without a sidecar: dapr publish --direct ...',
    );
  }
  return options.on('dry-run') ? dryRunWithoutSidecar(events) : publishWithoutSidecar(call, topic, events);
}

function wishOf({ options, home }: Call): Wish {
  return {
    home,
    pubsub: options.text('pubsub') ?? '',
    appId: options.text('publish-app-id'),
    sidecar: options.text('sidecar'),
    sockets: options.text('unix-domain-socket'),
    token: apiToken(options.text('api-token')),
  };
}

async function publishThrough(
  target: Target,
  call: Call,
  topic: string,
  events: readonly OutgoingEvent[],
): Promise<number> {
  const { options } = call;
  const token = apiToken(options.text('api-token'));
  const delivery = { target, topic, token, timeoutMs: options.duration('timeout') ?? DEFAULT_TIMEOUT_MS };
  const isBulk = options.on('lines') === true || options.on('json-array') === true;
  const batch = isBulk ? (options.number('batch') ?? DEFAULT_BATCH) : 1;
  if (options.on('dry-run')) return dryRun(delivery, isBulk, events, batch);
  return report(call, target, topic, events, await send(delivery, events, isBulk, batch));
}

async function publishWithoutSidecar(call: Call, topic: string, events: readonly OutgoingEvent[]): Promise<number> {
  const { options } = call;
  const { publishDirect } = await import('./direct.ts');
  const { pubsub, type, failed } = await publishDirect({
    environment: environment(options.text('runtime-path')),
    directories: options.list('resources-path').flatMap((paths) => paths.split(',')),
    pubsub: options.text('pubsub') ?? '',
    appId: options.text('publish-app-id') ?? 'dapr-cli',
    topic,
    events,
  });
  const address = { shown: `${type}, without a sidecar`, secure: false, prefix: '', options: {} };
  return report(call, { appId: '', pubsub, address }, topic, events, { failed });
}

/** Says what was published, and what was not. */
async function report(
  { options }: Call,
  { address, appId, pubsub }: Target,
  topic: string,
  events: readonly OutgoingEvent[],
  { failed }: Answers,
): Promise<number> {
  const lost = new Set(failed.map(({ index }) => index));
  const ids = events.filter((_, index) => !lost.has(index)).map(({ id }) => id);
  const result = {
    v: 1,
    pubsub,
    topic,
    appId,
    address: address.shown,
    published: ids.length,
    failed: failed.length,
    ids,
  };
  const through = appId === '' ? address.shown : `${appId} (${address.shown})`;
  const what = ids.length === 1 && ids[0] !== '' ? `, event ${ids[0]}` : '';
  const count = events.length === 1 ? '' : `${ids.length} of ${events.length} events `;
  await printData(
    result,
    options.text('output'),
    () => `published ${count}to ${pubsub}/${topic} through ${through}${what}\n`,
  );
  for (const { index, error } of failed.slice(0, 10)) say(`event ${index + 1} was not published: ${error}`);
  if (failed.length > 10) say(`and ${failed.length - 10} more`);
  if (failed.length === 0) return Exit.done;
  return ids.length === 0 ? Exit.failed : Exit.partly;
}

async function dryRun(
  delivery: Delivery,
  isBulk: boolean,
  events: readonly OutgoingEvent[],
  batch: number,
): Promise<number> {
  for (let start = 0; start < events.length; start += batch) {
    const part = events.slice(start, start + batch);
    const { method, path, contentType, body } = isBulk
      ? bulkRequest(delivery, part)
      : singleRequest(delivery, part[0] as OutgoingEvent);
    const { shown, prefix } = delivery.target.address;
    process.stdout.write(
      `${method} ${shown}${prefix}${path}\nContent-Type: ${contentType}\n\n${Buffer.from(body as Uint8Array).toString()}\n`,
    );
  }
  return Exit.done;
}

/** Nobody is asked, so that it is not known which component it would be. */
function dryRunWithoutSidecar(events: readonly OutgoingEvent[]): number {
  for (const { data, contentType } of events) {
    process.stdout.write(`without a sidecar\nContent-Type: ${contentType}\n\n${Buffer.from(data).toString()}\n`);
  }
  return Exit.done;
}
