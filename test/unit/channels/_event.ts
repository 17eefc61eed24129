import type { TopicEvent } from '../../../src/core/recipient.ts';

/** An event on its way with what a test cares for. */
export const eventOf = (more: Partial<Omit<TopicEvent, 'body'>> & { readonly body?: string } = {}): TopicEvent => ({
  pubsubName: 'pubsub',
  topic: 't',
  path: '/p',
  metadata: {},
  traceparent: '',
  tracestate: '',
  ...more,
  body: Buffer.from(more.body ?? '{"id":"1","datacontenttype":"text/plain","data":"x"}'),
});

export const NEVER = new AbortController().signal;
