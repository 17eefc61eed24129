import type { Answer, Recipient, TopicEvent } from './recipient.ts';

/** A batch that a recipient answered. */
export interface Batch {
  readonly pubsub: string;
  readonly topic: string;
  readonly ms: number;
  /** What became of its events; nobody who handles one is a retry. */
  readonly answers: readonly ('success' | 'retry' | 'drop')[];
}

export type OnBatch = (batch: Batch) => void;

/** A recipient whose batches are told of. */
export function measured(recipient: Recipient, onBatch: OnBatch): Recipient {
  const deliverBulk = async (events: readonly TopicEvent[], signal: AbortSignal): Promise<readonly Answer[]> => {
    const started = performance.now();
    const answers = await recipient.deliverBulk(events, signal);
    const [first] = events;
    if (first) {
      const { pubsubName: pubsub, topic } = first;
      const became = answers.map(({ kind }) => (kind === 'not-found' ? 'retry' : kind));
      onBatch({ pubsub, topic, ms: performance.now() - started, answers: became });
    }
    return answers;
  };
  return { deliver: (event, signal) => recipient.deliver(event, signal), deliverBulk };
}
