import { randomInt } from 'node:crypto';

const MESSAGES = 32;

interface Place {
  partition: number;
  messages: number;
}

/** Where messages without a key go: of each topic to one partition, until a batch of them has left or many are there. */
export class Sticky {
  private readonly places = new Map<string, Place>();

  /** For one more message to a topic of `count` partitions. */
  next(topic: string, count: number): number {
    const place = this.places.get(topic) ?? { partition: randomInt(count), messages: 0 };
    if (place.messages >= MESSAGES) moveOn(place);
    place.partition %= count;
    place.messages++;
    this.places.set(topic, place);
    return place.partition;
  }

  /** A batch to the partition leaves. */
  left(topic: string, partition: number): void {
    const place = this.places.get(topic);
    if (place?.partition === partition) moveOn(place);
  }
}

function moveOn(place: Place): void {
  place.partition++;
  place.messages = 0;
}
