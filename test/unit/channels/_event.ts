import type { TopicEvent } from '../../../src/core/recipient.ts';
import { membersOf } from '../../../src/lib/json-bytes.ts';

/** An event on its way with what a test cares for. */
export function eventOf(
  more: Partial<Omit<TopicEvent, 'body' | 'members'>> & { readonly body?: string } = {},
): TopicEvent {
  const body = Buffer.from(more.body ?? '{"id":"1","datacontenttype":"text/plain","data":"x"}');
  const event = {
    pubsubName: 'pubsub',
    topic: 't',
    path: '/p',
    metadata: {},
    traceparent: '',
    tracestate: '',
    baggage: '',
  };
  return { ...event, ...more, body, members: membersOf(body) };
}

export const NEVER = new AbortController().signal;
