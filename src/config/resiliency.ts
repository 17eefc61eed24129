/** Resiliency resources: their policies by name, and which of them guard a component (contract 10.1, 10.2, 10.4). */

import { compileTrip, DEFAULT_TRIP, type BreakerSettings } from '../core/circuit-breaker.ts';
import { messageOf } from '../core/errors.ts';
import type { Defined, Direction, Policy } from '../core/guard.ts';
import type { ResiliencyPolicies } from '../core/resiliency.ts';
import {
  GRPC_CODES,
  HTTP_CODES,
  INIT_RETRY,
  INIT_RETRY_NAME,
  retriesWithin,
  type CodeRange,
  type Retry,
} from '../core/retry-policy.ts';
import type { Backoff } from '../lib/backoff.ts';
import { parseDuration } from '../lib/duration.ts';
import { Fields, wrongKind } from '../lib/fields.ts';
import type { Log } from '../lib/log.ts';
import type { RawResource } from './resource-document.ts';

/** Dapr's curve of an exponential retry, and how long it goes on. Only its largest wait can be set. */
const EXPONENTIAL = { initialMs: 500, factor: 1.5, jitter: 0.5 };
const EXPONENTIAL_TOTAL_MS = 15 * 60_000;
/** What waits longer than this, twelve days, waits for ever; timers could not take much more. */
const LONGEST_MS = 2 ** 30;

const DIRECTIONS = ['inbound', 'outbound'] as const;
const KINDS = ['timeout', 'retry', 'circuitBreaker'] as const;

type Names = Readonly<Record<keyof Policy, string>>;

interface Target extends Readonly<Record<Direction, Names>> {
  readonly resource: string;
}

/** Everything that was read, in the one namespace that all resources share. Later ones take the place of earlier ones. */
interface Definitions {
  readonly timeout: Map<string, Defined<number>>;
  readonly retry: Map<string, Defined<Retry>>;
  readonly circuitBreaker: Map<string, Defined<BreakerSettings>>;
  readonly targets: Map<string, Target>;
}

/**
 * Reads the policies and targets of all resources. A resource that is wrong is told of and read as far as it is right;
 * a target that names an unknown policy is told of and goes without that one. Never rejects.
 */
export async function readResiliency(resources: readonly RawResource[], log: Log): Promise<ResiliencyPolicies> {
  const definitions: Definitions = {
    timeout: new Map(),
    retry: new Map(),
    circuitBreaker: new Map(),
    targets: new Map(),
  };
  const loaded: string[] = [];
  const refuse = (resource: string, reason: string): void =>
    log.error(`Could not read resiliency policy ${resource}: ${reason}`);
  for (const { name, spec } of resources) {
    log.info(`Loading Resiliency configuration: ${name}`);
    try {
      await define(definitions, name, new Fields(spec, 'spec'), log);
      loaded.push(name);
    } catch (error) {
      refuse(name, messageOf(error));
    }
  }
  for (const { resource, reason } of unknownNames(definitions)) refuse(resource, reason);
  return {
    of: (component, direction) => policyOf(definitions, component, direction),
    loaded,
    initRetry: definitions.retry.get(INIT_RETRY_NAME)?.value ?? INIT_RETRY,
  };
}

/** Throws at the first item that is wrong; what was read before stays. */
async function define(into: Definitions, resource: string, spec: Fields, log: Log): Promise<void> {
  for (const [name, text] of Object.entries(spec.child('policies').child('timeouts').record())) {
    into.timeout.set(name, { name, resource, value: milliseconds(text, `spec.policies.timeouts.${name}`) });
  }
  for (const { name, fields, place } of itemsOf(spec, 'policies', 'retries')) {
    const value = retryOf(fields, place);
    into.retry.set(name, { name, resource, value: isBuiltIn(name) ? builtIn(name, value, log) : value });
  }
  for (const { name, fields, place } of itemsOf(spec, 'policies', 'circuitBreakers')) {
    into.circuitBreaker.set(name, { name, resource, value: await breakerOf(fields, place) });
  }
  for (const { name, fields } of itemsOf(spec, 'targets', 'components')) {
    const [inbound, outbound] = [namesOf(fields.child('inbound')), namesOf(fields.child('outbound'))];
    into.targets.set(name, { resource, inbound, outbound });
  }
}

interface Item {
  readonly name: string;
  readonly fields: Fields;
  readonly place: string;
}

/** The items of a mapping by name. Names count as they are written, unlike other keys. */
function* itemsOf(spec: Fields, section: string, key: string): Generator<Item> {
  const items = spec.child(section).raw(key) ?? {};
  const place = `spec.${section}.${key}`;
  if (typeof items !== 'object' || Array.isArray(items)) throw wrongKind(place, items, 'a mapping');
  for (const [name, item] of Object.entries(items)) {
    yield { name, fields: new Fields(item, `${place}.${name}`), place: `${place}.${name}` };
  }
}

function retryOf(fields: Fields, place: string): Retry {
  const policy = fields.text('policy').toLowerCase() || 'constant';
  if (policy !== 'constant' && policy !== 'exponential') {
    throw new Error(`${place}.policy is '${policy}', neither constant nor exponential`);
  }
  const duration = durationOf(fields, 'duration', place) ?? 5000;
  const maxMs = durationOf(fields, 'maxInterval', place) ?? 60_000;
  const isConstant = policy === 'constant';
  const backoff: Backoff = isConstant
    ? { initialMs: duration, factor: 1, maxMs: duration, jitter: 0 }
    : { ...EXPONENTIAL, maxMs };
  const maxRetries = fields.integer('maxRetries') ?? -1;
  const httpCodes = codesOf(fields.child('matching'), 'httpStatusCodes', HTTP_CODES, place);
  const grpcCodes = codesOf(fields.child('matching'), 'gRPCStatusCodes', GRPC_CODES, place);
  return {
    backoff,
    maxRetries: maxRetries < 0 ? Infinity : maxRetries,
    retriesInTime: isConstant ? Infinity : retriesWithin(backoff, EXPONENTIAL_TOTAL_MS),
    ...(httpCodes && { httpCodes }),
    ...(grpcCodes && { grpcCodes }),
  };
}

const isBuiltIn = (name: string): boolean => name.startsWith('DaprBuiltIn');

/** What Dapr does by itself may be done otherwise, but not given up (contract 10.5). */
function builtIn(name: string, retry: Retry, log: Log): Retry {
  if (name !== INIT_RETRY_NAME) log.warn(`${name} has no effect: nothing here goes by it`);
  const { maxRetries: least } = INIT_RETRY;
  if (retry.maxRetries >= least) return retry;
  log.warn(`Attempted override of ${name} did not meet minimum retry count, resetting to ${least}.`);
  return { ...retry, maxRetries: least };
}

/** A list of codes and ranges like `429,500-599`; undefined where there is none, which is not the same as one without codes. */
function codesOf(fields: Fields, key: string, [lowest, highest]: CodeRange, place: string): CodeRange[] | undefined {
  const text = fields.text(key);
  if (text === '') return undefined;
  const parts = text.split(',').filter((part) => part !== '');
  return parts.map((part) => {
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(part) ?? [];
    const range: CodeRange = [Number(first), Number(last)];
    if (lowest <= range[0] && range[0] <= range[1] && range[1] <= highest) return range;
    throw new Error(`${place}.matching.${key}: '${part}' is no code or range within ${lowest}-${highest}`);
  });
}

/** Where a number makes no sense Dapr's breaker takes its default, and so do we. */
async function breakerOf(fields: Fields, place: string): Promise<BreakerSettings> {
  const trip = fields.text('trip').trim();
  return {
    maxRequests: Math.max(fields.integer('maxRequests') ?? 1, 1),
    intervalMs: durationOf(fields, 'interval', place) || Infinity,
    timeoutMs: durationOf(fields, 'timeout', place) || 60_000,
    trip: trip === '' ? DEFAULT_TRIP : await compileTrip(trip, `${place}.trip`),
  };
}

function namesOf(fields: Fields): Names {
  return {
    timeout: fields.text('timeout'),
    retry: fields.text('retry'),
    circuitBreaker: fields.text('circuitBreaker'),
  };
}

function durationOf(fields: Fields, key: string, place: string): number | undefined {
  const text = fields.text(key);
  return text === '' ? undefined : milliseconds(text, `${place}.${key}`);
}

/** Whole milliseconds, a part of one counts as one. Less than none is none. */
function milliseconds(text: string, place: string): number {
  const ms = parseDuration(text, 1);
  if (ms === undefined) throw new Error(`${place} is '${text}', which is no duration`);
  return Math.min(Math.max(Math.ceil(ms), 0), LONGEST_MS);
}

function* unknownNames(definitions: Definitions): Generator<{ resource: string; reason: string }> {
  for (const [component, target] of definitions.targets) {
    for (const direction of DIRECTIONS) {
      for (const kind of KINDS) {
        const name = target[direction][kind];
        if (name === '' || definitions[kind].has(name)) continue;
        const place = `spec.targets.components.${component}.${direction}.${kind}`;
        yield { resource: target.resource, reason: `${place} is '${name}', which is not defined` };
      }
    }
  }
}

/** A component that no target names is guarded by the policies with the names that Dapr has for it. */
function policyOf(definitions: Definitions, component: string, direction: Direction): Policy {
  const target = definitions.targets.get(component);
  const find = <T>(kind: keyof Policy, defined: ReadonlyMap<string, T>): T | undefined => {
    const names = target ? [target[direction][kind]] : defaultNames(direction, kind);
    return names.map((name) => defined.get(name)).find((one) => one !== undefined);
  };
  const timeout = find('timeout', definitions.timeout);
  const retry = find('retry', definitions.retry);
  const circuitBreaker = find('circuitBreaker', definitions.circuitBreaker);
  return {
    ...(timeout && timeout.value > 0 && { timeout }),
    ...(retry && { retry }),
    ...(circuitBreaker && { circuitBreaker }),
  };
}

const capitalised = (word: string): string => word.charAt(0).toUpperCase() + word.slice(1);

/** In the order in which they are looked for. */
function defaultNames(direction: Direction, kind: keyof Policy): string[] {
  const side = `Component${capitalised(direction)}`;
  return [`Pubsub${side}`, side, 'Component', ''].map((level) => `Default${level}${capitalised(kind)}Policy`);
}
