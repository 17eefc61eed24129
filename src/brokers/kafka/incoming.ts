/** What a handler gets of a record. */

import type { InboundMessage } from '../../core/broker.ts';
import { decodeHeaders, escapeText, type HeaderOptions } from './headers.ts';
import type { Held, Partition } from './partition.ts';
import type { InboundRecord } from './record-batch.ts';

const NULL = Buffer.from('null');

/** The headers as metadata, and beside them what Dapr tells of a record. */
export function presenter(options: HeaderOptions): (partition: Partition, held: Held) => InboundMessage {
  return ({ topic, id }, { offset, attempt, record }) => {
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
}
