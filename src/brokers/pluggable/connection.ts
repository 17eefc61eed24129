/**
 * The connection to a component. Who answers on the socket may be another process than a moment ago, so every
 * connection begins with Init, and nothing else is asked before.
 */

import {
  connectivityState,
  credentials,
  Metadata,
  type Client,
  type ClientDuplexStream,
  type ClientUnaryCall,
  type MethodDefinition,
} from '@grpc/grpc-js';
import { PubSubClient, PubSubService, type PullMessagesRequest } from '../../../gen/dapr/proto/components/v1/pubsub.ts';
import type { BrokerFeature } from '../../core/broker.ts';
import { GrpcCode, messageOf } from '../../core/errors.ts';
import { backoffMs, type Backoff } from '../../lib/backoff.ts';
import { MAX_TIMER_MS } from '../../lib/deadline.ts';
import type { Log } from '../../lib/log.ts';
import { sleep } from '../../lib/sleep.ts';
import { PluginError } from './plugin-error.ts';
import { decodePulled, type Pulled } from './pulled.ts';
import { refuseOthers } from './services.ts';

export interface ConnectionOptions {
  readonly socket: string;
  /** Name of the component: a process may serve several, and tells them apart by it. */
  readonly instance: string;
  readonly properties: Readonly<Record<string, string>>;
  readonly log: Log;
}

const FEATURES: Readonly<Record<string, BrokerFeature>> = {
  MESSAGE_TTL: 'message-ttl',
  SUBSCRIBE_WILDCARDS: 'wildcard-topics',
  BULK_PUBSUB: 'bulk-publish',
  BULK_SUBSCRIBE_IMMEDIATE: 'bulk-at-once',
};
const INIT_MS = 60_000;
/** How long a socket that nobody listens on is tried when the component is opened: its process may just be starting. */
const OPEN_MS = 4000;
const BACKOFF: Backoff = { initialMs: 50, factor: 1.5, maxMs: 500, jitter: 0.2 };

export class Connection {
  features: ReadonlySet<BrokerFeature> = new Set();
  private readonly options: ConnectionOptions;
  private readonly client: Client;
  private readonly headers = new Metadata();
  private readonly calls = new Set<ClientUnaryCall>();
  private readonly closing = new AbortController();
  /** Resolves when the component may be called; replaced whenever the connection is lost. */
  private initialised = Promise.withResolvers<void>();
  private isReady = false;

  constructor(options: ConnectionOptions) {
    this.options = options;
    this.client = new PubSubClient(`unix:${options.socket}`, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.client_idle_timeout_ms': MAX_TIMER_MS,
      'grpc.initial_reconnect_backoff_ms': 100,
      'grpc.max_reconnect_backoff_ms': 500,
      'grpc.enable_retries': 0,
      'grpc.max_receive_message_length': -1,
      'grpc.max_send_message_length': -1,
    });
    // Values of headers are ASCII.
    this.headers.set('x-component-instance', options.instance.replaceAll(/[^\x20-\x7e]+/g, encodeURIComponent));
  }

  /** Connects and initialises the component. Rejects when it refuses, or when nobody answers for some seconds. */
  async open(): Promise<void> {
    const deadline = performance.now() + OPEN_MS;
    for (let attempt = 1; ; attempt++) {
      try {
        await refuseOthers(this.client, this.options.socket);
        await this.initialise();
        break;
      } catch (error) {
        const isAway = error instanceof PluginError && error.code === GrpcCode.UNAVAILABLE;
        if (!isAway || performance.now() > deadline || this.closing.signal.aborted) throw error;
        await sleep(backoffMs(BACKOFF, attempt), this.closing.signal);
      }
    }
    void this.keep();
  }

  /** Resolves when the component may be called. Rejects after `ms`, and when the connection is closed. */
  async ready(ms: number): Promise<void> {
    if (!this.isReady) await Promise.race([this.initialised.promise, sleep(ms, this.closing.signal)]);
    if (this.closing.signal.aborted) throw new Error('component is closed');
    if (!this.isReady) throw new PluginError(GrpcCode.UNAVAILABLE, `nobody answers at ${this.options.socket}`);
  }

  /** Calls a method. Rejects with PluginError, also when there is no answer within `ms`. */
  call<Request, Response>(
    method: MethodDefinition<Request, Response>,
    request: Request,
    ms: number,
  ): Promise<Response> {
    return new Promise((resolve, reject) => {
      const call = this.client.makeUnaryRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        this.headers,
        { deadline: Date.now() + ms },
        (error, response) => {
          this.calls.delete(call);
          if (error) reject(PluginError.from(error));
          else resolve(response as Response);
        },
      );
      this.calls.add(call);
    });
  }

  /** A stream of messages; nothing is sent on it yet. */
  pull(): ClientDuplexStream<PullMessagesRequest, Pulled> {
    const { path, requestSerialize } = PubSubService.pullMessages;
    return this.client.makeBidiStreamRequest(path, requestSerialize, decodePulled, this.headers);
  }

  close(): void {
    this.closing.abort();
    this.isReady = false;
    for (const call of this.calls) call.cancel();
    this.client.close();
  }

  private async initialise(): Promise<void> {
    await this.call(PubSubService.init, { metadata: { properties: { ...this.options.properties } } }, INIT_MS);
    const { features } = await this.call(PubSubService.features, {}, INIT_MS).catch((error: unknown) => {
      if (error instanceof PluginError && error.isUnimplemented) return { features: [] };
      throw error;
    });
    this.features = new Set(features.flatMap((name) => FEATURES[name] ?? []));
    this.isReady = true;
    this.initialised.resolve();
  }

  /** Initialises it again whenever the connection was lost, for ever. */
  private async keep(): Promise<void> {
    const { log, socket } = this.options;
    for (;;) {
      await this.lost();
      if (this.closing.signal.aborted) return;
      this.isReady = false;
      this.initialised = Promise.withResolvers();
      log.warn(`pluggable component at ${socket} cannot be reached, trying again`);
      await this.initialiseAgain();
      if (this.closing.signal.aborted) return;
      log.info(`pluggable component at ${socket} is back`);
    }
  }

  private async initialiseAgain(): Promise<void> {
    let told = '';
    for (let attempt = 1; !this.closing.signal.aborted; attempt++) {
      try {
        return await this.initialise();
      } catch (error) {
        const isAway = error instanceof PluginError && error.code === GrpcCode.UNAVAILABLE;
        const reason = isAway ? '' : messageOf(error);
        if (reason !== told) this.options.log.warn(`pluggable component cannot be initialised: ${reason}`);
        told = reason;
        await sleep(backoffMs(BACKOFF, attempt), this.closing.signal);
      }
    }
  }

  /** Resolves when the connection is lost, or closed. */
  private async lost(): Promise<void> {
    const channel = this.client.getChannel();
    while (!this.closing.signal.aborted && channel.getConnectivityState(false) === connectivityState.READY) {
      await new Promise((resolve) => channel.watchConnectivityState(connectivityState.READY, Infinity, resolve));
    }
  }
}
