/** A batch as the JSON that an HTTP app gets (contract 7.3). Events are carried as they are, not printed again. */

import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { asBuffer, BULK_TYPE } from '../core/cloud-event.ts';
import type { TopicEvent } from '../core/recipient.ts';
import { contentTypeOf } from './topic-event.ts';

/** Another producer's event may be no UTF-8, which must not make the whole batch unreadable. */
const textOf = (json: Uint8Array): Uint8Array => (isUtf8(json) ? json : Buffer.from(asBuffer(json).toString('utf8')));

/** `ids` name the entries. The events are of one topic; there is at least one. */
export function bulkBody(events: readonly TopicEvent[], ids: readonly string[]): Buffer {
  const { pubsubName, topic } = events[0] as TopicEvent;
  const parts: Uint8Array[] = [Buffer.from('{"entries":[')];
  events.forEach((event, index) => {
    const raw = event.raw && asBuffer(event.raw).toString('base64');
    const contentType = JSON.stringify(contentTypeOf(event));
    const metadata = JSON.stringify(event.metadata);
    parts.push(
      Buffer.from(`${index > 0 ? ',' : ''}{"entryId":"${ids[index]}","event":`),
      raw === undefined ? textOf(event.body) : Buffer.from(`"${raw}"`),
      Buffer.from(`,"metadata":${metadata},"contentType":${contentType}}`),
    );
  });
  const name = JSON.stringify(pubsubName);
  parts.push(
    Buffer.from(
      `],"id":"${randomUUID()}","metadata":{"pubsubName":${name}},"pubsubname":${name}` +
        `,"topic":${JSON.stringify(topic)},"type":"${BULK_TYPE}"}`,
    ),
  );
  return Buffer.concat(parts);
}
