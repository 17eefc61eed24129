/** One connection to one broker. It is opened once; when it breaks, another takes its place. */

import { connect as connectPlain, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { unlessAborted } from '../../lib/deadline.ts';
import { Writer } from './bytes.ts';
import {
  Broker,
  Connection,
  errorOfCode,
  protocolRequest,
  typeOf,
  type KafkaBroker,
  type KafkaConnection,
  type KafkaLogger,
  type ProtocolRequest,
  type Request,
  type SocketFactory,
} from './kafkajs.ts';
import type { Address } from './settings.ts';

export interface LinkOptions {
  readonly clientId: string;
  readonly tls: object | null;
  readonly sasl: object | null;
  readonly dialTimeoutMs: number;
  readonly answerTimeoutMs: number;
  readonly keepAliveMs: number;
}

/** kafkajs tells of every connection that fails; whoever uses the link does so, once. */
const SILENT: KafkaLogger = {
  namespace: () => SILENT,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export class Link {
  private readonly connection: KafkaConnection;
  private readonly broker: KafkaBroker;
  private readonly answerTimeoutMs: number;
  private readonly clientId: string;
  private socket: Socket | undefined;
  private ended = false;

  private constructor({ host, port }: Address, options: LinkOptions) {
    const { dialTimeoutMs, answerTimeoutMs, clientId, tls, sasl, keepAliveMs } = options;
    this.answerTimeoutMs = answerTimeoutMs;
    this.clientId = clientId;
    const connection = new Connection({
      host,
      port,
      clientId,
      logger: SILENT,
      socketFactory: this.socketFactory(keepAliveMs),
      requestTimeout: answerTimeoutMs,
      // Each connection would look ten times a second whether something is late.
      enforceRequestTimeout: false,
      connectionTimeout: dialTimeoutMs,
      ssl: tls,
      sasl: sasl && { ...sasl },
    });
    this.connection = connection;
    this.broker = new Broker({
      logger: SILENT,
      authenticationTimeout: dialTimeoutMs,
      connectionPool: {
        host,
        port,
        sasl,
        connectionTimeout: dialTimeoutMs,
        isConnected: () => connection.isConnected(),
        isAuthenticated: () => connection.isAuthenticated(),
        setVersions: connection.setVersions.bind(connection),
        setSupportAuthenticationProtocol: connection.setSupportAuthenticationProtocol.bind(connection),
        getConnection: async () => {
          await connection.connect();
          return Object.assign(connection);
        },
        send: connection.send.bind(connection),
        destroy: () => connection.disconnect(),
      },
    });
  }

  /** Rejects when the broker cannot be reached or refuses us, and when `giveUp` aborts. */
  static async open(address: Address, options: LinkOptions, giveUp: AbortSignal): Promise<Link> {
    const link = new Link(address, options);
    try {
      await unlessAborted(giveUp, () => link.close(), link.broker.connect());
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  get isOpen(): boolean {
    return !this.ended && this.connection.isConnected();
  }

  /** The highest version of a request that the broker knows, 0 when it does not know it at all. */
  versionOf(apiKey: number): number {
    return this.broker.versions[apiKey]?.maxVersion ?? 0;
  }

  /** Rejects with the first error in the answer. */
  async ask<T>(api: string, args: object): Promise<T> {
    return (await this.send(protocolRequest(this.broker.versions, api, args))) as T;
  }

  /** The answer with the errors in it, for those that speak of several things. */
  async askEach<T>(api: string, args: object): Promise<T> {
    const { request, response, ...rest } = protocolRequest(this.broker.versions, api, args);
    const parse = (decoded: unknown): Promise<T> => Promise.resolve(decoded as T);
    return this.send({ request, response: { decode: (bytes) => response.decode(bytes), parse }, ...rest });
  }

  /** As `askEach`, with a decoder of one's own. */
  async read<T>(api: string, args: object, decode: (bytes: Buffer, version: number) => T): Promise<T> {
    const { request, ...rest } = protocolRequest(this.broker.versions, api, args);
    const parse = (decoded: unknown): Promise<T> => Promise.resolve(decoded as T);
    const response = { decode: async (bytes: Buffer) => decode(bytes, request.apiVersion), parse };
    return this.send({ ...rest, request, response });
  }

  /**
   * Gives the answer, null where none is expected; the broker may wait for `waitMs` before it answers. (kafkajs would
   * copy the body twice, into memory it clears first.)
   */
  async write(request: Request, body: readonly Buffer[], isAnswered: boolean, waitMs = 0): Promise<Buffer | null> {
    const { connection } = this;
    const { payload } = await this.within(request.apiName, this.answerTimeoutMs + waitMs, async () => {
      if (!connection.isAuthenticated()) await connection.authenticate();
      const correlationId = connection.nextCorrelationId();
      const head = new Writer().int16(request.apiKey).int16(request.apiVersion).int32(correlationId);
      const frame = [head.text(this.clientId).done(), ...body];
      const size = new Writer(4).int32(frame.reduce((sum, { length }) => sum + length, 0)).done();
      return new Promise<{ payload: Buffer | null }>((resolve, reject) => {
        const entry = { ...request, correlationId, resolve, reject };
        connection.requestQueue.push({
          entry,
          expectResponse: isAnswered,
          sendRequest: () => this.put(size, ...frame),
        });
      });
    });
    return payload;
  }

  /** The broker wants to be left alone for so long. */
  pause(ms: number): void {
    this.connection.requestQueue.maybeThrottle(ms);
  }

  private put(...parts: readonly Buffer[]): void {
    if (!this.isOpen || !this.socket) throw new Error('the connection broke');
    this.socket.cork();
    for (const part of parts) this.socket.write(part);
    this.socket.uncork();
  }

  private send<T>(request: ProtocolRequest<T>): Promise<T> {
    const limitMs = Math.max(this.answerTimeoutMs, request.requestTimeout ?? 0);
    return this.within(request.request.apiName, limitMs, () =>
      this.connection.send({ ...request, logResponseError: false }),
    );
  }

  /** A connection that failed or did not answer in time is not used again. */
  private async within<T>(api: string, limitMs: number, work: () => Promise<T>): Promise<T> {
    const timer = setTimeout(() => this.close(`no answer to ${api} within ${limitMs} ms`), limitMs);
    try {
      return await work();
    } catch (error) {
      if (typeOf(error).startsWith('KafkaJS')) this.close('the connection broke');
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  close(reason = 'the connection was closed'): void {
    if (this.ended) return;
    this.ended = true;
    this.connection.rejectRequests(new Error(reason));
    void this.connection.disconnect().catch(() => undefined);
    this.socket?.destroy();
  }

  private socketFactory(keepAliveMs: number): SocketFactory {
    return ({ host, port, ssl, onConnect }) => {
      let connected = false;
      const onceConnected = (): void => {
        connected = true;
        onConnect();
      };
      const name = isIP(host) === 0 && { servername: host };
      const socket = ssl
        ? connectTls({ host, port, ...name, ...ssl }, onceConnected)
        : connectPlain({ host, port }, onceConnected);
      socket.setNoDelay(true).setKeepAlive(true, keepAliveMs);
      // kafkajs waits for an end or an error; a socket that is destroyed while it connects has neither.
      socket.once('close', () => {
        if (!connected) socket.emit('error', new Error('closed while connecting'));
        else socket.emit('end');
      });
      this.socket = socket;
      return socket;
    };
  }
}

/** Throws the error of an answer, 0 being none. */
export function check(errorCode: number): void {
  if (errorCode !== 0) throw errorOfCode(errorCode);
}
