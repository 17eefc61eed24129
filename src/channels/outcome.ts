/** What an app's reply means, over HTTP and over gRPC. The only place that knows (contract 2.5, 6.2, 7.4). */

import { TopicEventResponse_TopicEventResponseStatus as Status } from '../../gen/dapr/proto/runtime/v1/appcallback.ts';
import { GrpcCode } from '../core/errors.ts';
import { skipSpace, valueEnd } from '../lib/json-bytes.ts';
import type { Answer } from '../core/recipient.ts';
import type { Log } from '../lib/log.ts';

const SUCCESS: Answer = { kind: 'success' };
const DROP: Answer = { kind: 'drop' };
const RETRY: Answer = { kind: 'retry', reason: 'RETRY status returned from app' };
const OPEN_BRACE = 0x7b;
const NO_ANSWER: Answer = { kind: 'retry', reason: 'response not received' };

/** The answer in an HTTP reply to one event. */
export function answerOfHttp(status: number, body: Buffer): Answer {
  return failureOfHttp(status) ?? answerOfWord(statusWord(body), SUCCESS);
}

/** The answers in an HTTP reply to a batch, by the ids of its entries. */
export function answersOfHttp(status: number, body: Buffer, ids: readonly string[], log: Log): Answer[] {
  const failure = failureOfHttp(status);
  if (failure) return ids.map(() => failure);
  const given = listOf(objectOf(body), 'statuses').map((entry): [string, Answer] => [
    textOf(entry, 'entryId'),
    answerOfWord(textOf(entry, 'status'), NO_ANSWER),
  ]);
  return answersByEntry(new Map(given), ids, log);
}

/** The answers in their order. A missing one means that the app did not get to it; one for no entry is told. */
export function answersByEntry(given: ReadonlyMap<string, Answer>, ids: readonly string[], log: Log): Answer[] {
  const sent = new Set(ids);
  for (const id of given.keys()) {
    if (sent.has(id)) continue;
    log.warn(`Invalid entry id received from app while processing pub/sub event ${id.slice(0, 64)}`);
  }
  return ids.map((id) => given.get(id) ?? NO_ANSWER);
}

function failureOfHttp(status: number): Answer | undefined {
  if (status === 404) return { kind: 'not-found', reason: 'status code returned: 404', code: 404 };
  if (status >= 200 && status <= 299) return undefined;
  return { kind: 'retry', reason: `status code returned: ${status}`, code: status };
}

function answerOfWord(word: string, whenEmpty: Answer): Answer {
  if (word === '') return whenEmpty;
  if (word === 'SUCCESS') return SUCCESS;
  if (word === 'DROP') return DROP;
  if (word === 'RETRY') return RETRY;
  return { kind: 'retry', reason: `unknown status returned from app: ${word.slice(0, 64)}` };
}

/** `status` of the body; empty when the body is not an object with such a text. */
function statusWord(body: Buffer): string {
  return body[skipSpace(body, 0)] === OPEN_BRACE ? textOf(objectOf(body), 'status') : '';
}

/** The first JSON value of the body, which is all that Dapr reads. */
function objectOf(body: Buffer): object {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8', 0, valueEnd(body, 0)));
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

/** A member by its key in any case. */
function memberOf(object: unknown, key: string): unknown {
  const wanted = key.toLowerCase();
  return Object.entries(object ?? {}).findLast(([name]) => name.toLowerCase() === wanted)?.[1];
}

function textOf(object: unknown, key: string): string {
  const value = memberOf(object, key);
  return typeof value === 'string' ? value : '';
}

function listOf(object: unknown, key: string): unknown[] {
  const value = memberOf(object, key);
  return Array.isArray(value) ? value : [];
}

/** The answer in a status of gRPC's callback messages. */
export function answerOfStatus(status: number): Answer {
  if (status === Status.SUCCESS) return SUCCESS;
  if (status === Status.DROP) return DROP;
  return status === Status.RETRY ? RETRY : { kind: 'retry', reason: `unknown status returned from app: ${status}` };
}

/** The answer in a call that failed. */
export function answerOfGrpcError(code: number, reason: string): Answer {
  return code === GrpcCode.UNIMPLEMENTED ? { kind: 'not-found', reason, code } : { kind: 'retry', reason, code };
}
