/** Stream entries as Dapr writes them: a field `data` with the bytes, a field `metadata` with a JSON object. */

export interface Entry {
  readonly id: string;
  readonly data: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
}

/** `[id, [field, value, ...]]`, or null for one that was deleted from the stream. */
export type RawEntry = readonly [id: Buffer, fields: readonly Buffer[] | null] | null;

const NOTHING = Buffer.alloc(0);

/** The entries that are there; a deleted one has nothing to deliver. */
export function decodeEntries(raw: readonly RawEntry[]): Entry[] {
  const entries: Entry[] = [];
  for (const one of raw) {
    if (one?.[1]) entries.push(decode(one[0].toString('latin1'), one[1]));
  }
  return entries;
}

function decode(id: string, fields: readonly Buffer[]): Entry {
  let data: Buffer = NOTHING;
  let metadata: Entry['metadata'] = {};
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const [name, value] = [(fields[i] as Buffer).toString('latin1'), fields[i + 1] as Buffer];
    if (name === 'data') data = value;
    else if (name === 'metadata') metadata = parseMetadata(value.toString());
  }
  return { id, data, metadata };
}

let lastText = '';
let last: Entry['metadata'] = {};

/** Neighbours mostly have the same metadata and then share one object. What is no object of texts counts as none. */
function parseMetadata(text: string): Entry['metadata'] {
  if (text === lastText) return last;
  lastText = text;
  last = {};
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      last = Object.fromEntries(Object.entries(value).map(([key, one]) => [key, String(one)]));
    }
  } catch {
    // Another producer's field of the same name: the message is delivered without.
  }
  return last;
}

/** Order of entry ids: both halves are numbers, of up to 20 digits. */
export function compareIds(a: string, b: string): number {
  if (a.length === b.length && a.indexOf('-') === b.indexOf('-')) return a < b ? -1 : a > b ? 1 : 0;
  const [aTime = '', aSeq = ''] = a.split('-');
  const [bTime = '', bSeq = ''] = b.split('-');
  return compareDigits(aTime, bTime) || compareDigits(aSeq, bSeq);
}

function compareDigits(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

const MAX_SEQ = 2n ** 64n - 1n;

/** The smallest id after `id`. */
export function nextId(id: string): string {
  const [time = '0', seq = '0'] = id.split('-');
  return BigInt(seq) < MAX_SEQ ? `${time}-${BigInt(seq) + 1n}` : `${BigInt(time) + 1n}-0`;
}

/** When the entry was added, as its server's clock had it. Milliseconds since 1970. */
export const timeOf = (id: string): number => Number(id.split('-')[0]);
