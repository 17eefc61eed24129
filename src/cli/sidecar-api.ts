/** A sidecar's HTTP API, as far as the commands use it. */

import { request as plain, type RequestOptions } from 'node:http';
import { hostAndPort } from '../lib/host-and-port.ts';
import { socketFault, socketPath } from '../lib/listen.ts';
import type { Instance } from '../lib/registry.ts';
import { Exit, Failure, usage } from './failure.ts';

/** Where an API is. */
export interface Address {
  /** For people: host:port, the URL or the socket. */
  readonly shown: string;
  readonly secure: boolean;
  /** Put before every path; empty for most. */
  readonly prefix: string;
  readonly options: Pick<RequestOptions, 'host' | 'port' | 'socketPath'>;
}

export function hostAddress(host: string, port: number): Address {
  return {
    shown: hostAndPort(host, port),
    secure: false,
    prefix: '',
    options: { host, port },
  };
}

/** Throws a usage failure for a path that cannot be a socket's. */
export function socketAddress(path: string): Address {
  const fault = socketFault(path);
  if (fault) throw usage(fault);
  return { shown: path, secure: false, prefix: '', options: { socketPath: path } };
}

/** Of a URL with http or https. Throws a TypeError for what is none. */
export function urlAddress(text: string): Address {
  const url = new URL(text);
  const secure = url.protocol === 'https:';
  const port = Number(url.port || (secure ? 443 : 80));
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { shown: url.origin, secure, prefix: url.pathname.replace(/\/+$/, ''), options: { host, port } };
}

/** Where to reach a running sidecar from this machine. */
export function addressOf({ httpHost, httpPort, socketDirectory, appId }: Instance): Address {
  if (socketDirectory) return socketAddress(socketPath(socketDirectory, appId, 'http'));
  const anywhere = httpHost === '' || httpHost === '0.0.0.0' || httpHost === 'localhost';
  return hostAddress(anywhere ? '127.0.0.1' : httpHost === '::' ? '::1' : httpHost, httpPort);
}

export interface ApiRequest {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** With its query. */
  readonly path: string;
  readonly contentType?: string;
  readonly body?: Uint8Array | string;
  /** Empty: none. */
  readonly token: string;
  readonly timeoutMs: number;
}

export interface ApiAnswer {
  readonly status: number;
  readonly body: string;
}

/** One request. Rejects with a Failure when nobody answers (exit code 4) or not in time (5); any status is an answer. */
export async function ask(address: Address, request: ApiRequest): Promise<ApiAnswer> {
  const send = address.secure ? (await import('node:https')).request : plain;
  const body = request.body === undefined ? undefined : Buffer.from(request.body as Uint8Array);
  const headers = {
    ...(request.contentType === undefined ? {} : { 'content-type': request.contentType }),
    ...(body === undefined ? {} : { 'content-length': body.length }),
    ...(request.token === '' ? {} : { 'dapr-api-token': request.token }),
  };
  const { method, timeoutMs } = request;
  const path = address.prefix + request.path;
  const signal = AbortSignal.timeout(timeoutMs);
  return new Promise<ApiAnswer>((resolve, reject) => {
    const fail = (error: Error): void => reject(unanswered(address, error, signal.aborted, timeoutMs));
    const call = send({ ...address.options, method, path, headers, signal, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('error', fail);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString() }));
    });
    call.on('error', fail);
    call.end(body);
  });
}

/** What an answer that refuses says. */
export function errorOf({ status, body }: ApiAnswer): { code: string; message: string } {
  const { errorCode = `HTTP_${status}`, message = body.trim() } = objectOf(body) as {
    errorCode?: string;
    message?: string;
  };
  return { code: errorCode, message };
}

/** The JSON of a body; an empty object where it is none. */
export function objectOf(body: string): object {
  try {
    return JSON.parse(body) as object;
  } catch {
    return {};
  }
}

function unanswered(address: Address, error: Error, late: boolean, timeoutMs: number): Failure {
  if (late) {
    return new Failure(`the sidecar at ${address.shown} did not answer within ${timeoutMs / 1000} s`, {
      exit: Exit.timedOut,
      code: 'TIMED_OUT',
      next: ['a longer --timeout waits longer; whether an event in hand was stored is not known'],
    });
  }
  return new Failure(`no sidecar answers at ${address.shown}`, {
    exit: Exit.unreachable,
    code: 'UNREACHABLE',
    why: error.message || ((error as NodeJS.ErrnoException).code ?? ''),
    next: ['dapr list'],
  });
}

/** What a sidecar has loaded. */
export interface Loaded {
  readonly pubsubs: readonly string[];
  readonly topics: readonly string[];
}

/** Asks a sidecar what it has loaded. Rejects like `ask`, or when the answer is of no use. */
export async function loadedBy(address: Address, token: string, timeoutMs: number): Promise<Loaded> {
  const { status, body } = await ask(address, { method: 'GET', path: '/v1.0/metadata', token, timeoutMs });
  if (status !== 200)
    throw new Failure(`GET /v1.0/metadata answered ${status}`, { exit: Exit.failed, code: 'NO_METADATA' });
  const { components = [], subscriptions = [] } = JSON.parse(body) as {
    components?: { name: string; type: string }[];
    subscriptions?: { topic: string }[];
  };
  return {
    pubsubs: components.filter(({ type }) => type.startsWith('pubsub.')).map(({ name }) => name),
    topics: subscriptions.map(({ topic }) => topic),
  };
}
