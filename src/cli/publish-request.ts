/** Events as requests of the publish API, and what its answers mean. */

import type { OutgoingEvent } from './events.ts';
import { Exit, Failure } from './failure.ts';
import { type ApiAnswer, type ApiRequest, ask, errorOf, objectOf } from './sidecar-api.ts';
import type { Target } from './target.ts';

export interface Delivery {
  readonly target: Target;
  readonly topic: string;
  readonly token: string;
  readonly timeoutMs: number;
}

export interface Answers {
  /** Events that were not published, by their place. */
  readonly failed: readonly { readonly index: number; readonly error: string }[];
}

/** Sends the events, one a request or `batch` a bulk request, in order. Rejects when none of them could be published. */
export async function send(
  delivery: Delivery,
  events: readonly OutgoingEvent[],
  isBulk: boolean,
  batch: number,
): Promise<Answers> {
  const failed: { index: number; error: string }[] = [];
  for (let start = 0; start < events.length; start += batch) {
    const part = events.slice(start, start + batch);
    const request = isBulk ? bulkRequest(delivery, part) : singleRequest(delivery, part[0] as OutgoingEvent);
    try {
      const answer = await ask(delivery.target.address, request);
      const refused = isSuccess(answer) ? [] : failedEntries(answer);
      if (refused === undefined) throw refusal(answer, delivery);
      failed.push(...refused.map(({ entryId, error }) => ({ index: start + Number(entryId), error })));
    } catch (thrown) {
      if (start - failed.length <= 0) throw thrown;
      const { message } = thrown as Failure;
      failed.push(...events.slice(start).map((_, index) => ({ index: start + index, error: message })));
      break;
    }
  }
  return { failed };
}

const isSuccess = ({ status }: ApiAnswer): boolean => status >= 200 && status < 300;

function pathOf(kind: string, { target, topic }: Delivery, metadata: Readonly<Record<string, string>>): string {
  const name = encodeURIComponent(topic);
  const query = Object.entries(metadata).map(([key, value]) => {
    return `${encodeURIComponent(`metadata.${key}`)}=${encodeURIComponent(value)}`;
  });
  return `/v1.0/${kind}/${encodeURIComponent(target.pubsub)}/${name}${query.length > 0 ? `?${query.join('&')}` : ''}`;
}

export function singleRequest(delivery: Delivery, { data, contentType, metadata }: OutgoingEvent): ApiRequest {
  const path = pathOf('publish', delivery, metadata);
  return { method: 'POST', path, contentType, body: data, token: delivery.token, timeoutMs: delivery.timeoutMs };
}

/** Whether the data is raw is said once for all, the rest with each entry. JSON goes into the body as it is. */
export function bulkRequest(delivery: Delivery, events: readonly OutgoingEvent[]): ApiRequest {
  const rawPayload = events[0]?.metadata['rawPayload'];
  const path = pathOf('publish/bulk', delivery, rawPayload === undefined ? {} : { rawPayload });
  const entries = events.map(({ data, contentType, metadata }, index) => {
    const head = JSON.stringify({ entryId: String(index), contentType, metadata }).slice(0, -1);
    return `${head},"event":${eventText(data, contentType)}}`;
  });
  const body = `[${entries.join(',')}]`;
  return {
    method: 'POST',
    path,
    contentType: 'application/json',
    body,
    token: delivery.token,
    timeoutMs: delivery.timeoutMs,
  };
}

function eventText(data: Uint8Array, contentType: string): string {
  const bytes = Buffer.from(data);
  if (/^application\/(cloudevents\+)?json\b/i.test(contentType)) return bytes.toString();
  return JSON.stringify(bytes.toString(/^application\/octet-stream\b/i.test(contentType) ? 'base64' : 'utf8'));
}

/** The entries that a bulk answer names; undefined when it names none and so means all. */
function failedEntries({ body }: ApiAnswer): { entryId: string; error: string }[] | undefined {
  const { failedEntries: entries } = objectOf(body) as { failedEntries?: { entryId: string; error?: string }[] };
  return entries && entries.length > 0 ? entries.map(({ entryId, error = '' }) => ({ entryId, error })) : undefined;
}

/** What a refusal means: exit code by status, the API's own words, and what to do about it. */
function refusal(answer: ApiAnswer, { target, topic }: Delivery): Failure {
  const { code, message } = errorOf(answer);
  const who = target.appId || target.address.shown;
  const { exit, next } = advice(answer.status, code, message, target);
  return new Failure(`${who} refused the event for ${target.pubsub}/${topic}`, {
    exit,
    code,
    why: `${answer.status} ${message}`,
    next,
  });
}

function advice(status: number, code: string, message: string, target: Target): { exit: number; next: string[] } {
  if (status === 401) return { exit: Exit.refused, next: ['set DAPR_API_TOKEN, or add --api-token <token>'] };
  if (status === 403)
    return {
      exit: Exit.refused,
      next: [`look at publishingScopes, allowedTopics and protectedTopics of "${target.pubsub}"`],
    };
  if (code === 'ERR_PUBSUB_NOT_FOUND') {
    return {
      exit: Exit.notFound,
      next: [`start the sidecar with --resources-path <directory that has "${target.pubsub}">`],
    };
  }
  if (message.includes('too large'))
    return { exit: Exit.failed, next: ['start the sidecar with a larger --max-body-size'] };
  return { exit: Exit.failed, next: ['the sidecar’s log says more'] };
}
