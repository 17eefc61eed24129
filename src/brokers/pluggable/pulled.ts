import { BinaryReader } from '@bufbuild/protobuf/wire';
import { PullMessagesResponse_MetadataEntry as MetadataEntry } from '../../../gen/dapr/proto/components/v1/pubsub.ts';

/** A message as the component sent it. */
export interface Pulled {
  /** Unique as long as it is not settled, if the component keeps to the contract; may be empty. */
  readonly id: string;
  readonly topic: string;
  readonly data: Uint8Array;
  readonly contentType: string;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Reads a PullMessagesResponse. The generated reader loses a metadata key like `__proto__`. Throws when it is none. */
export function decodePulled(bytes: Uint8Array): Pulled {
  const reader = new BinaryReader(bytes);
  const metadata = Object.create(null) as Record<string, string>;
  const pulled = { id: '', topic: '', data: new Uint8Array(0), contentType: '', metadata };
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === 1) pulled.data = reader.bytes() as Uint8Array<ArrayBuffer>;
    else if (field === 2) pulled.topic = reader.string();
    else if (field === 3) {
      const { key, value } = MetadataEntry.decode(reader, reader.uint32());
      metadata[key] = value;
    } else if (field === 4) pulled.contentType = reader.string();
    else if (field === 5) pulled.id = reader.string();
    else reader.skip(wireType, field);
  }
  return pulled;
}
