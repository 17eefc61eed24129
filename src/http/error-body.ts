/** Errors as HTTP answers: status and JSON body of contract 3.6. */

import type { SidecarError } from '../core/errors.ts';
import type { PublishError } from '../core/publisher.ts';

const TYPE_PREFIX = 'type.googleapis.com/google.rpc.';

/** The JSON body of an error, compact and with the characters escaped that HTML would read. */
export function bodyOf(error: SidecarError): string {
  const { tag, reason } = error.row;
  const body = { errorCode: tag, message: error.message, ...(reason !== '' && { details: detailsOf(error) }) };
  return escapeHtml(JSON.stringify(body));
}

function detailsOf(error: SidecarError): object[] {
  const { reason, resource } = error.row;
  const info = { '@type': `${TYPE_PREFIX}ErrorInfo`, domain: 'dapr.io', metadata: { ...error.info }, reason };
  if (!resource) return [info];
  const about = {
    '@type': `${TYPE_PREFIX}ResourceInfo`,
    description: error.message,
    owner: '',
    resource_name: error.resource,
    resource_type: 'pubsub',
  };
  return [about, info];
}

/** What a bulk publish answers when entries failed (contract 3.5). `entryID` is the spelling one SDK looks for. */
export function bulkBodyOf(error: PublishError): string {
  const failedEntries = error.failures.map(({ entryId, error: text }) => ({ entryId, entryID: entryId, error: text }));
  return escapeHtml(JSON.stringify({ failedEntries, errorCode: error.row.tag }));
}

/** Beyond this the headers of an answer are more than clients read. */
const MAX_HEADER = 4096;

/** The same in headers, where one reads them; left out where it is long. */
export function bulkHeadersOf(error: PublishError): Readonly<Record<string, string>> {
  const body = bulkBodyOf(error).replace(/[^\x20-\x7e]/g, escapeCharacter);
  if (body.length > MAX_HEADER) return {};
  const text = `api error: code = Internal desc = ${error.message}`.replace(/[^\x20-\x7e]/g, '?');
  return { 'metadata.responseData': body, 'metadata.error': text };
}

const escapeCharacter = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;

const ESCAPES: Readonly<Record<string, string>> = {
  '<': '\\u003c',
  '>': '\\u003e',
  '&': '\\u0026',
  '\u2028': '\\u2028',
  '\u2029': '\\u2029',
};

function escapeHtml(json: string): string {
  return json.replace(/[<>&\u2028\u2029]/g, (char) => ESCAPES[char] as string);
}
