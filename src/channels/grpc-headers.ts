/** How gRPC writes what its own headers say: times, and text where a header has only printable ASCII. */

const TIMEOUT = /^(\d{1,8})([HMSmun])$/;
const UNIT_MS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };
const NOT_PRINTABLE = /[^ -~]|%/gu;
/** Clients take 8 KiB of trailers in all; some end the connection, with every call on it, when there is more. */
const MAX_MESSAGE_CHARACTERS = 500;

/** With the name of an encoding or without. That of gRPC-Web begins the same way, and is framed otherwise. */
const CONTENT_TYPE = /^application\/grpc(?:$|[+;])/;

export const isGrpc = (contentType: string | undefined): boolean => CONTENT_TYPE.test(contentType ?? '');

/** Milliseconds of a `grpc-timeout`; undefined when it is none. */
export function timeoutMs(header: string): number | undefined {
  const [, count, unit] = TIMEOUT.exec(header) ?? [];
  return count === undefined || unit === undefined ? undefined : Number(count) * (UNIT_MS[unit] as number);
}

/** What a status may say: it often repeats what the client sent. */
export const shortened = (message: string): string =>
  message.length > MAX_MESSAGE_CHARACTERS ? `${message.slice(0, MAX_MESSAGE_CHARACTERS).toWellFormed()}...` : message;

/** A text as `grpc-message` has it. */
export const escaped = (text: string): string =>
  text.toWellFormed().replace(NOT_PRINTABLE, (character) => encodeURIComponent(character));

/** The text of a `grpc-message`, as it is where it is not escaped as it should be. */
export function unescaped(header: string): string {
  try {
    return decodeURIComponent(header);
  } catch {
    return header;
  }
}
