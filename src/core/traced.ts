import type { Answer, Recipient, TopicEvent } from './recipient.ts';
import { messagingAttributes, type Tracer } from './tracer.ts';

/**
 * A recipient whose deliveries are spans beneath the trace of their event, the first of a trace where it knows none;
 * what is behind it gets the span as the trace.
 */
export function traced(recipient: Recipient, tracer: Tracer): Recipient {
  const deliver = async (event: TopicEvent, signal: AbortSignal): Promise<Answer> => {
    const { topic, traceparent, tracestate } = event;
    const attributes = () => messagingAttributes(topic);
    const span = tracer.start(`pubsub/${topic}`, 'client', { traceparent, tracestate }, attributes);
    const answer = await recipient.deliver({ ...event, ...span.trace }, signal);
    span.end('reason' in answer ? answer.reason : '');
    return answer;
  };
  return { deliver, deliverBulk: (events, signal) => recipient.deliverBulk(events, signal) };
}
