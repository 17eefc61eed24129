/** The app over HTTP. */

import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { H2CClient, Pool, type Dispatcher } from 'undici';
import { Semaphore } from '../lib/semaphore.ts';
import { sleep } from '../lib/sleep.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from '../core/errors.ts';
import type { Answer, AppChannel, TopicEvent } from '../core/recipient.ts';
import { invokeFailed, type Invocation, type Invoked } from '../core/invocation.ts';
import { pauseOf, type Retry } from '../core/retry-policy.ts';
import type { SubscriptionSpec } from '../core/subscription.ts';
import type { Traffic } from '../core/traffic.ts';
import { specsFromAppAnswer } from '../core/subscription-document.ts';
import {
  headerOf,
  headersOf,
  invocationHeaders,
  passedOn,
  pubsubHeader,
  withToken,
  type AppToken,
} from './app-headers.ts';
import { bulkBody } from './bulk-body.ts';
import { answerOfHttp, answersOfHttp } from './outcome.ts';

export interface HttpChannelOptions {
  readonly address: string;
  readonly port: number;
  /** The app's certificate is not verified: it is on this machine and usually self-signed. */
  readonly tls: boolean;
  /** Whether it speaks HTTP/2 without TLS from the first byte. */
  readonly http2: boolean;
  readonly appId: string;
  /** Sent to the app with every request. */
  readonly token: AppToken;
  /** Events in hand at once; 0: no limit. */
  readonly maxConcurrency: number;
  /** Where the app says whether it is well. */
  readonly healthPath: string;
  /** Longest answer that is read; more is an error. */
  readonly maxBodyBytes: number;
  /** Undefined where nobody counts. */
  readonly traffic: Traffic | undefined;
  /** For asking what the app subscribes to. */
  readonly initRetry: Retry;
  readonly log: Log;
}

const MAX_CONNECTIONS = 1024;
/** Of every delivery. */
const OWN = ['user-agent', 'dapr-pubsub'];

export class HttpChannel implements AppChannel {
  private readonly options: HttpChannelOptions;
  private readonly pool: Pool;
  private readonly slots: Semaphore;
  /** Request targets by route: there are as many as rules. */
  private readonly targets = new Map<string, string>();

  constructor(options: HttpChannelOptions) {
    const { tls, address, port, maxConcurrency } = options;
    const host = address.includes(':') ? `[${address}]` : address;
    this.options = options;
    this.pool = new Pool(`${tls ? 'https' : 'http'}://${host}:${port}`, {
      connections: MAX_CONNECTIONS,
      headersTimeout: 0,
      bodyTimeout: 0,
      connect: { rejectUnauthorized: false },
      ...(options.http2 && { factory: (origin) => new H2CClient(origin, { headersTimeout: 0, bodyTimeout: 0 }) }),
    });
    this.slots = new Semaphore(maxConcurrency || Infinity);
  }

  async deliver(event: TopicEvent, signal: AbortSignal): Promise<Answer> {
    const headers = headersOf(event, ...OWN, 'content-type', 'application/cloudevents+json');
    const reply = await this.post(event.path, event.body, headers, signal);
    return reply instanceof Error ? failure(reply) : answerOfHttp(reply.status, reply.body);
  }

  async deliverBulk(events: readonly TopicEvent[], signal: AbortSignal): Promise<readonly Answer[]> {
    const [first] = events;
    if (!first) return [];
    const ids = events.map(() => randomUUID());
    const headers = [...OWN, 'content-type', 'application/json', ...pubsubHeader(first)];
    const reply = await this.post(first.path, bulkBody(events, ids), headers, signal);
    return reply instanceof Error ? ids.map(() => failure(reply)) : answersOfHttp(reply.status, reply.body, ids);
  }

  /** The app's reply, or why there is none. Waits for its turn where the app allows only so many at once. */
  private async post(path: string, body: Uint8Array, own: string[], signal: AbortSignal): Promise<Reply | Error> {
    const headers = withToken(own, this.options.token);
    try {
      return await this.inTurn({ method: 'POST', path: this.targetOf(path), body, headers }, signal);
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  private async inTurn(request: Dispatcher.DispatchOptions, signal: AbortSignal): Promise<Reply> {
    const turn = this.slots.acquire();
    if (turn) await turn;
    try {
      return await this.exchange(request, signal);
    } finally {
      this.slots.release();
    }
  }

  async invoke(call: Invocation, signal: AbortSignal): Promise<Invoked> {
    const headers = withToken(invocationHeaders(call), this.options.token);
    if (call.contentType !== '') headers.push('content-type', call.contentType);
    const target = `/${call.method.replace(/^\/+/, '')}`;
    const path = escaped(call.query === '' ? target : `${target}?${call.query}`);
    const body = call.body.length > 0 ? call.body : null;
    try {
      const method = call.verb as Dispatcher.HttpMethod;
      const { status, headers: given, body: answer } = await this.inTurn({ method, path, body, headers }, signal);
      const all = Object.entries(given).flatMap(([name, value]) => [value ?? []].flat().flatMap((one) => [name, one]));
      const contentType = [given['content-type'] ?? ''].flat()[0] as string;
      return { status, contentType, headers: passedOn(all), body: answer, typeUrl: '' };
    } catch (error) {
      throw invokeFailed(call.id, `error invoking app channel: ${messageOf(error)}`, error);
    }
  }

  async subscriptions(signal: AbortSignal): Promise<readonly SubscriptionSpec[]> {
    const { log } = this.options;
    const reply = await this.ask('/dapr/subscribe', signal);
    if (reply.status === 404) {
      log.debug('user app did not subscribe to any topic');
      return [];
    }
    if (reply.status !== 200) {
      log.error(`app returned http status code ${reply.status} from subscription endpoint`);
      return [];
    }
    try {
      return specsFromAppAnswer(reply.body.toString('utf8'), log);
    } catch (error) {
      log.error(`error getting topics from app: ${messageOf(error)}`);
      throw error;
    }
  }

  async configure(signal: AbortSignal): Promise<void> {
    await this.ask('/dapr/config', signal).catch((error: unknown) => {
      this.options.log.debug(`app configuration not loaded: ${messageOf(error)}`);
    });
  }

  async probe(signal: AbortSignal): Promise<void> {
    const { status } = await this.exchange({ method: 'GET', path: this.options.healthPath }, signal);
    if (status < 200 || status > 299) throw new Error(`Health check failed with status code: ${status}`);
  }

  async close(): Promise<void> {
    await this.pool.destroy();
  }

  /** Asks the app at start, on a connection of its own; only a failing connection is tried again. */
  private async ask(path: string, signal: AbortSignal): Promise<Reply> {
    const { appId, token } = this.options;
    const headers = withToken(['content-type', 'application/json', ...headerOf('dapr-app-id', appId)], token);
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.exchange({ method: 'GET', path, headers, reset: true }, signal);
      } catch (error) {
        const pause = pauseOf(this.options.initRetry, attempt, undefined);
        if (pause === undefined || signal.aborted) throw error;
        await sleep(pause, signal);
      }
    }
  }

  private targetOf(route: string): string {
    let target = this.targets.get(route);
    if (target === undefined) this.targets.set(route, (target = pathOf(route)));
    return target;
  }

  private exchange(request: Dispatcher.DispatchOptions, signal: AbortSignal): Promise<Reply> {
    const tell = this.teller(request);
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      this.pool.dispatch(request, new Exchange(signal, this.options.maxBodyBytes, { resolve, reject, tell }));
    });
  }

  /** Tells who counts of the end of a request that begins now. */
  private teller({ method, path, body }: Dispatcher.DispatchOptions): Tell | undefined {
    const { traffic, healthPath } = this.options;
    if (!traffic) return undefined;
    const started = performance.now();
    return (status, received) => {
      const ms = performance.now() - started;
      if (method === 'GET' && path === healthPath) return traffic.httpProbed(status, ms);
      const sent = body instanceof Uint8Array ? body.length : 0;
      traffic.httpCalled({ method, path: withoutQuery(path), status, received, sent, ms });
    };
  }
}

const failure = (error: Error): Answer => ({
  kind: 'retry',
  reason: `error returned from app channel while sending pub/sub event to app: ${error.message}`,
});

/** `status` of a request that got no answer is NO_ANSWER. */
type Tell = (status: number, received: number) => void;

/** As Dapr counts it. */
const NO_ANSWER = 500;

interface Ends {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
  readonly tell: Tell | undefined;
}

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

const EMPTY = Buffer.alloc(0);

/** One request's handler: collects the reply. Leaner than the client's promises, which cost more than the request. */
class Exchange implements Dispatcher.DispatchHandler {
  private readonly signal: AbortSignal;
  private readonly limit: number;
  private readonly ends: Ends;
  private status = 0;
  private headers: IncomingHttpHeaders = {};
  private size = 0;
  private chunks: Buffer[] | undefined;
  private abort: (() => void) | undefined;

  constructor(signal: AbortSignal, limit: number, ends: Ends) {
    this.signal = signal;
    this.limit = limit;
    this.ends = ends;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.abort = () => controller.abort(this.signal.reason as Error);
    if (this.signal.aborted) this.abort();
    else this.signal.addEventListener('abort', this.abort, { once: true });
  }

  onResponseStart(_controller: Dispatcher.DispatchController, status: number, headers: IncomingHttpHeaders): void {
    this.status = status;
    this.headers = headers;
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.size += chunk.length;
    if (this.limit > 0 && this.size > this.limit) controller.abort(new Error('the answer of the app is too large'));
    else (this.chunks ??= []).push(chunk);
  }

  onResponseEnd(): void {
    this.done();
    const { status, headers, chunks } = this;
    this.ends.tell?.(status, this.size);
    this.ends.resolve({ status, headers, body: chunks === undefined ? EMPTY : Buffer.concat(chunks, this.size) });
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.done();
    this.ends.tell?.(NO_ANSWER, this.size);
    this.ends.reject(error);
  }

  private done(): void {
    if (this.abort) this.signal.removeEventListener('abort', this.abort);
  }
}

/** The route as a request target: cleaned, with its leading slash, its query kept. */
function pathOf(route: string): string {
  const [path = '', ...query] = route.split('?');
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const cleaned = `/${segments.join('/')}${query.length > 0 ? `?${query.join('?')}` : ''}`;
  return escaped(cleaned);
}

function withoutQuery(target: string): string {
  const mark = target.indexOf('?');
  return mark < 0 ? target : target.slice(0, mark);
}

/** What cannot stand in a request target is escaped, and what is escaped already is left alone. */
const escaped = (target: string): string => encodeURI(target.toWellFormed()).replace(/%25(?=[0-9a-f]{2})/gi, '%');
