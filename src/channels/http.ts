/** The app over HTTP. */

import { randomUUID } from 'node:crypto';
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
import type { AppClient, AppRequest, Reply } from './app-client.ts';
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
import { HttpClient } from './http-client.ts';
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
  /** Events and calls in hand at once; 0: no limit. */
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

/** Of every delivery. */
const OWN = ['user-agent', 'dapr-pubsub'];

class HttpChannel implements AppChannel {
  readonly turns: Semaphore | undefined;
  private readonly options: HttpChannelOptions;
  private readonly client: AppClient;
  /** Request targets by route: there are as many as rules. */
  private readonly targets = new Map<string, string>();

  constructor(options: HttpChannelOptions, client: AppClient) {
    this.options = options;
    this.client = client;
    this.turns = options.maxConcurrency > 0 ? new Semaphore(options.maxConcurrency) : undefined;
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
    if (reply instanceof Error) return ids.map(() => failure(reply));
    return answersOfHttp(reply.status, reply.body, ids, this.options.log);
  }

  /** The app's reply, or why there is none. */
  private async post(path: string, body: Uint8Array, own: string[], signal: AbortSignal): Promise<Reply | Error> {
    const headers = withToken(own, this.options.token);
    try {
      return await this.exchange(
        { method: 'POST', path: this.targetOf(path), body, headers, repeatable: true },
        signal,
      );
    } catch (error) {
      return error instanceof Error ? error : new Error(String(error));
    }
  }

  async invoke(call: Invocation, signal: AbortSignal): Promise<Invoked> {
    const headers = withToken(invocationHeaders(call), this.options.token);
    if (call.contentType !== '') headers.push('content-type', call.contentType);
    const target = `/${call.method.replace(/^\/+/, '')}`;
    const path = escaped(call.query === '' ? target : `${target}?${call.query}`);
    const body = call.body.length > 0 ? call.body : null;
    try {
      const send = (): Promise<Reply> => this.exchange({ method: call.verb, path, body, headers }, signal);
      const reply = await (this.turns ? this.turns.run(send) : send());
      const { status, headers: given, body: answer } = reply;
      const contentType = given.find((_, i) => i % 2 === 1 && given[i - 1] === 'content-type') ?? '';
      return { status, contentType, headers: passedOn(given), body: answer, typeUrl: '' };
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
    const { status } = await this.exchange({ method: 'GET', path: this.options.healthPath, headers: [] }, signal);
    if (status < 200 || status > 299) throw new Error(`Health check failed with status code: ${status}`);
  }

  async close(): Promise<void> {
    await this.client.close();
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

  private exchange(request: AppRequest, signal: AbortSignal): Promise<Reply> {
    const sent = this.client.request(request, signal);
    const tell = this.teller(request);
    if (!tell) return sent;
    return sent.then(
      (reply) => {
        tell(reply.status, reply.body.length);
        return reply;
      },
      (error: unknown) => {
        tell(NO_ANSWER, 0);
        throw error;
      },
    );
  }

  /** Tells who counts of the end of a request that begins now. */
  private teller({ method, path, body }: AppRequest): Tell | undefined {
    const { traffic, healthPath } = this.options;
    if (!traffic) return undefined;
    const started = performance.now();
    return (status, received) => {
      const ms = performance.now() - started;
      if (method === 'GET' && path === healthPath) return traffic.httpProbed(status, ms);
      const sent = body?.length ?? 0;
      traffic.httpCalled({ method, path: withoutQuery(path), status, received, sent, ms });
    };
  }
}

/** A channel over the leanest client for what the app speaks. */
export async function openHttpChannel(options: HttpChannelOptions): Promise<HttpChannel> {
  if (!options.tls && !options.http2) return new HttpChannel(options, new HttpClient(options));
  const { UndiciClient } = await import('./undici-client.ts');
  return new HttpChannel(options, new UndiciClient(options));
}

const failure = (error: Error): Answer => ({
  kind: 'retry',
  reason: `error returned from app channel while sending pub/sub event to app: ${error.message}`,
});

/** `status` of a request that got no answer is NO_ANSWER. */
type Tell = (status: number, received: number) => void;

/** As Dapr counts it. */
const NO_ANSWER = 500;

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
