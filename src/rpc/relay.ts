/**
 * Calls of services that are none of ours: they are the app's, and go there and back as the bytes that they are
 * (contract 1.1). Nothing is kept but what the slower side has not taken yet.
 */

import { constants, type ClientHttp2Stream, type ServerHttp2Stream } from 'node:http2';
import type { Duplex } from 'node:stream';
import { CallEnd } from '../channels/call-end.ts';
import { GrpcCode, SidecarError } from '../core/errors.ts';
import type { Relay } from '../core/invocation.ts';
import type { MemoryBudget, Waiting } from '../lib/memory-budget.ts';
import { LATE, OK, type CallStatus, type ServerCall } from './call.ts';
import { STREAM_WINDOW_BYTES } from './connections.ts';
import { statusOf } from './status.ts';

/** A stream of the server with its headers as they came, names and values in turn. */
export interface RawCall {
  readonly stream: ServerHttp2Stream;
  readonly rawHeaders: readonly string[];
}

const NO_APP_ID: CallStatus = {
  code: GrpcCode.UNKNOWN,
  details: 'failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found',
};
/** Of HTTP, and the token that was for the sidecar. */
const NOT_ASKED = /^(?::|te$|http2-settings$|dapr-api-token$)/;
const NOT_ANSWERED = /^(?::|content-type$|content-length$|te$|http2-settings$)/;
/** What the app may send before anybody reads: the window of HTTP/2. */
const ANSWER_WINDOW_BYTES = 65_535;

/** The app that a call is meant for. Of headers that come more than once the first counts, and no id has a blank. */
export const appIdOf = (call: ServerCall): string | undefined =>
  (call.header('dapr-callee-app-id') ?? call.header('dapr-app-id'))?.split(', ', 1)[0];

/** Passes a call on. What keeps it from the app is the call's status. */
export function passOn(call: ServerCall, { stream, rawHeaders }: RawCall, relay: Relay, budget: MemoryBudget): void {
  const id = appIdOf(call);
  if (id === undefined) return call.end(NO_APP_ID);
  const leaving = new AbortController();
  try {
    const headers = without(NOT_ASKED, rawHeaders);
    const app = relay({ id, path: call.path, headers }, leaving.signal);
    new Relayed(call, stream, app, leaving, budget).run();
  } catch (error) {
    call.end(statusOf(SidecarError.from(error)));
  }
}

/** A call between its client and the app. */
class Relayed implements Waiting {
  private readonly call: ServerCall;
  private readonly client: ServerHttp2Stream;
  private readonly app: ClientHttp2Stream;
  private readonly leaving: AbortController;
  private readonly budget: MemoryBudget;
  /** Bytes that the budget counts for what waits here, or may. */
  private held = 0;
  private isOver = false;

  constructor(
    call: ServerCall,
    client: ServerHttp2Stream,
    app: ClientHttp2Stream,
    leaving: AbortController,
    budget: MemoryBudget,
  ) {
    this.call = call;
    this.client = client;
    this.app = app;
    this.leaving = leaving;
    this.budget = budget;
  }

  run(): void {
    const { call, client, app } = this;
    const end = new CallEnd();
    const session = app.session; // the stream forgets it when it closes
    let failed: string | undefined;
    app.on('error', ({ message }) => (failed ??= message));
    call.onCancelled(() => this.leave());
    call.onClose(() => this.leave());
    this.pump(client, app, STREAM_WINDOW_BYTES);
    client.once('end', () => {
      if (!client.closed) app.end(); // a reset is an end, too, and none of the request
    });
    app.once('trailers', (_headers, _flags, raw) => end.read(raw));
    app.once('response', (_headers, _flags, raw) => {
      end.read(raw);
      if (end.type === undefined) return void app.resume();
      call.answerAs(end.type);
      if (end.headers) return void app.resume(); // no message comes
      call.sendHeaders(without(NOT_ANSWERED, raw));
      this.pump(app, client, ANSWER_WINDOW_BYTES);
    });
    const answer = (): void => {
      if (this.isOver) return;
      this.leave();
      const isLost = session?.destroyed !== false && (failed !== undefined || !end.headers);
      const failure = end.failure(app.rstCode ?? 0, isLost ? (failed ?? 'the connection was lost') : undefined);
      const { code, message: details } = failure ?? { ...OK, message: '' };
      if (end.headers) call.end({ code, details, trailers: trailersOf(end.headers) });
      else call.end(code === GrpcCode.CANCELLED && call.isLate ? LATE : { code, details }); // its app knew first
    };
    app.once('end', answer).once('close', answer);
  }

  /** For its memory: one side does not read. A status would wait as well. */
  giveUp(): void {
    this.leave();
    this.client.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
  }

  /** Lets go of the app, who hears of it where the call has not ended there. */
  private leave(): void {
    if (this.isOver) return;
    this.hold(-this.held);
    this.isOver = true;
    if (!this.app.readableEnded || !this.app.writableFinished) this.leaving.abort();
  }

  /** Moves bytes. Who sends waits for who reads; until it hears of that, a window full of bytes may come. */
  private pump(from: Duplex, to: Duplex, windowBytes: number): void {
    from.on('data', (piece: Buffer) => {
      if (this.isOver) return;
      this.hold(piece.length);
      if (to.write(piece, () => this.hold(-piece.length))) return;
      from.pause();
      this.hold(windowBytes);
      to.once('drain', () => {
        this.hold(-windowBytes);
        from.resume();
      });
    });
  }

  /** Counts so many bytes more, or fewer. */
  private hold(bytes: number): void {
    if (this.isOver) return;
    this.held += bytes;
    if (this.held > 0) this.budget.await(this);
    else this.budget.forget(this);
    this.budget.keep(bytes);
  }
}

const without = (names: RegExp, headers: readonly string[]): string[] =>
  headers.filter((_, i) => !names.test(headers[i - (i % 2)] as string));

/** All but the status: one that is none would spoil the connection for clients that remember headers. */
function trailersOf(raw: readonly string[]): Record<string, string[]> {
  const kept = without(NOT_ANSWERED, raw);
  const trailers = new Map<string, string[]>();
  for (let i = 0; i < kept.length; i += 2) {
    const [name, value] = [kept[i] as string, kept[i + 1] as string];
    if (name !== 'grpc-status') trailers.set(name, [...(trailers.get(name) ?? []), value]);
  }
  return Object.fromEntries(trailers);
}
