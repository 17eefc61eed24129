/** W3C baggage: checked, carried back and on with an event, never read. */

const MAX_BYTES = 8192;
const MAX_MEMBERS = 180;
const KEY = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Printable ASCII without blank, quote, comma, semicolon and backslash; what else there is comes percent-encoded. */
const VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*$/;

/** What is wrong with a baggage header, in the words of Go's library; undefined when nothing is. */
export function baggageFault(text: string): string | undefined {
  if (text.trim() === '') return undefined;
  if (text.length > MAX_BYTES) return `baggage-string too large: ${text.length}`;
  const members = text.split(',');
  if (members.length > MAX_MEMBERS) return `too many list-members in baggage-string: ${members.length}`;
  for (const member of members) {
    const fault = memberFault(member);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function memberFault(member: string): string | undefined {
  const [pair = '', ...properties] = member.split(';');
  const at = pair.indexOf('=');
  if (at < 0) return `invalid baggage list-member: ${JSON.stringify(pair)}`;
  const [key, value] = [pair.slice(0, at).trim(), pair.slice(at + 1).trim()];
  if (!KEY.test(key)) return `invalid key: ${JSON.stringify(key)}`;
  if (!isValue(value)) return `invalid value: ${JSON.stringify(value)}`;
  const wrong = properties.find((property) => !isProperty(property));
  return wrong === undefined ? undefined : `invalid baggage list-member property: ${JSON.stringify(wrong)}`;
}

function isProperty(property: string): boolean {
  const at = property.indexOf('=');
  const key = (at < 0 ? property : property.slice(0, at)).trim();
  return KEY.test(key) && (at < 0 || isValue(property.slice(at + 1).trim()));
}

const isValue = (value: string): boolean => VALUE.test(value) && !/%(?![0-9a-f]{2})/i.test(value);
