import { PubSubService } from '../../../gen/dapr/proto/components/v1/pubsub.ts';
import type { OutboundMessage, PublishFailure } from '../../core/broker.ts';
import { GrpcCode } from '../../core/errors.ts';
import type { Connection } from './connection.ts';
import { PluginError } from './plugin-error.ts';

/** How long a publish waits for a component that is being started anew. */
const READY_MS = 2000;
const ANSWER_MS = 30_000;

/** Publishes a list as the component can: as a whole where it says so, else one after the other, for the sake of order. */
export class PluginPublisher {
  private readonly connection: Connection;
  private readonly pubsubName: string;
  private bulk = true;

  constructor(connection: Connection, pubsubName: string) {
    this.connection = connection;
    this.pubsubName = pubsubName;
  }

  async publish(topic: string, messages: readonly OutboundMessage[]): Promise<readonly PublishFailure[]> {
    if (messages.length > 1 && this.bulk && this.connection.features.has('bulk-publish')) {
      const failures = await this.publishBulk(topic, messages);
      if (failures) return failures;
    }
    const failures: PublishFailure[] = [];
    for (const [index, message] of messages.entries()) {
      const error = await this.publishOne(topic, message);
      if (error) failures.push({ index, error });
      if (error?.code === GrpcCode.UNAVAILABLE) return [...failures, ...rest(messages, index + 1, error)];
    }
    return failures;
  }

  private async publishOne(topic: string, message: OutboundMessage): Promise<PluginError | undefined> {
    const { data, metadata, contentType } = message;
    const request = { data, topic, metadata: { ...metadata }, contentType, pubsubName: this.pubsubName };
    try {
      await this.connection.ready(READY_MS);
      await this.connection.call(PubSubService.publish, request, ANSWER_MS);
      return undefined;
    } catch (error) {
      return asPluginError(error);
    }
  }

  /** Undefined: the component has no such method, and nothing was published. */
  private async publishBulk(
    topic: string,
    messages: readonly OutboundMessage[],
  ): Promise<readonly PublishFailure[] | undefined> {
    const entries = messages.map(({ data, contentType, metadata }, index) => ({
      entryId: String(index),
      event: data,
      contentType,
      metadata: { ...metadata },
    }));
    const request = { entries, pubsubName: this.pubsubName, topic, metadata: {} };
    try {
      await this.connection.ready(READY_MS);
      const { failedEntries } = await this.connection.call(PubSubService.bulkPublish, request, ANSWER_MS);
      const failures = failedEntries.map(({ entryId, error }) => ({ index: Number(entryId || NaN), error }));
      // A failure that names no entry can be that of any: all of them count as failed, and may arrive twice.
      const nobodys = failures.find(({ index }) => messages[index] === undefined);
      if (nobodys) return rest(messages, 0, new PluginError(GrpcCode.UNKNOWN, nobodys.error));
      return failures.map(({ index, error }) => ({ index, error: new PluginError(GrpcCode.UNKNOWN, error) }));
    } catch (error) {
      const failure = asPluginError(error);
      if (!failure.isUnimplemented) return rest(messages, 0, failure);
      this.bulk = false;
      return undefined;
    }
  }
}

const rest = (messages: readonly OutboundMessage[], from: number, error: Error): PublishFailure[] =>
  messages.slice(from).map((_, offset) => ({ index: from + offset, error }));

const asPluginError = (error: unknown): PluginError =>
  error instanceof PluginError ? error : PluginError.from(error as Error);
