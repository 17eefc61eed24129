/** Whether bytes could be a protobuf message: a sequence of complete fields, groups balanced. */
export function isProtobuf(bytes: Uint8Array): boolean {
  const groups: number[] = [];
  let i = 0;
  while (i < bytes.length) {
    const tag = varint(bytes, i);
    if (tag === undefined || tag.value < 8) return false;
    const [field, wireType] = [Math.floor(tag.value / 8), tag.value % 8];
    if (wireType === GROUP_START) groups.push(field);
    if (wireType === GROUP_END && groups.pop() !== field) return false;
    const end = fieldEnd(bytes, tag.end, wireType);
    if (end === undefined) return false;
    i = end;
  }
  return i === bytes.length && groups.length === 0;
}

const GROUP_START = 3;
const GROUP_END = 4;

function fieldEnd(bytes: Uint8Array, i: number, wireType: number): number | undefined {
  if (wireType === GROUP_START || wireType === GROUP_END) return i;
  if (wireType === 1) return i + 8;
  if (wireType === 5) return i + 4;
  const number = wireType === 0 || wireType === 2 ? varint(bytes, i) : undefined;
  return number && (wireType === 0 ? number.end : number.end + number.value);
}

function varint(bytes: Uint8Array, i: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let shift = 0; shift < 70; shift += 7, i++) {
    const byte = bytes[i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return { value, end: i + 1 };
  }
  return undefined;
}
