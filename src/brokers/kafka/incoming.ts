/** What a handler gets of a record. */

import type { InboundMessage } from '../../core/broker.ts';
import type { Avro } from './avro.ts';
import { decodeHeaders, escapeText, type HeaderOptions } from './headers.ts';
import type { Held } from './lanes.ts';
import type { Partition } from './partition.ts';
import type { InboundRecord } from './record-batch.ts';
import type { Present } from './topic.ts';

const NULL = Buffer.from('null');

/** The headers as metadata, and beside them what Dapr tells of a record. */
export function presenter(options: HeaderOptions, avro: Avro | undefined): Present {
  const present = ({ topic, id }: Partition, { offset, attempt, record }: Held): InboundMessage => {
    const { key, value, headers, timestamp } = record as InboundRecord;
    const metadata: Record<string, string> = {
      __topic: topic,
      __partition: String(id),
      __offset: String(offset),
      __timestamp: String(timestamp),
    };
    if (key) metadata['__key'] = options.escape ? escapeText(key.toString('utf8')) : key.toString('utf8');
    decodeHeaders(headers, options, metadata);
    return { topic, id: `${id}/${offset}`, attempt, contentType: '', metadata, data: value ?? NULL };
  };
  if (!avro) return present;
  return async (partition, held) => {
    const message = present(partition, held);
    return { ...message, data: held.record?.value ? await avro.decode(held.record.value) : message.data };
  };
}
