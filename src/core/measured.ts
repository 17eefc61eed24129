import type { Answer, Recipient, TopicEvent } from './recipient.ts';

/** A batch that a recipient answered. */
export interface Batch {
  readonly pubsub: string;
  readonly topic: string;
  readonly ms: number;
  /** What became of its events; nobody who handles one is a retry. */
  readonly answers: readonly ('success' | 'retry' | 'drop')[];
}

export interface Measures {
  readonly onBatch: (batch: Batch) => void;
  /** So many events more, or fewer, are with the recipient. */
  readonly onInHand: (pubsub: string, topic: string, change: number) => void;
}

/** A recipient of which is told what it has in hand, and what became of its batches. */
export function measured(recipient: Recipient, { onBatch, onInHand }: Measures): Recipient {
  const deliver = async (event: TopicEvent, signal: AbortSignal): Promise<Answer> => {
    onInHand(event.pubsubName, event.topic, 1);
    const answer = await recipient.deliver(event, signal);
    onInHand(event.pubsubName, event.topic, -1);
    return answer;
  };
  const deliverBulk = async (events: readonly TopicEvent[], signal: AbortSignal): Promise<readonly Answer[]> => {
    const [first] = events;
    if (!first) return [];
    const { pubsubName: pubsub, topic } = first;
    const started = performance.now();
    onInHand(pubsub, topic, events.length);
    const answers = await recipient.deliverBulk(events, signal);
    onInHand(pubsub, topic, -events.length);
    const became = answers.map(({ kind }) => (kind === 'not-found' ? 'retry' : kind));
    onBatch({ pubsub, topic, ms: performance.now() - started, answers: became });
    return answers;
  };
  return { deliver, deliverBulk };
}
