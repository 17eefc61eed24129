/** Tokens of an OpenID Connect provider, by the client credentials grant. */

import { createSign, randomUUID } from 'node:crypto';
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { messageOf } from '../../core/errors.ts';
import { withoutSecrets } from '../../lib/without-secrets.ts';
import { RENEWAL_MS } from './kafkajs.ts';

export interface TokenSource {
  readonly endpoint: string;
  readonly clientId: string;
  readonly scopes: readonly string[];
  /** PEM; empty for the well-known authorities. */
  readonly ca: string;
  readonly skipVerify: boolean;
  readonly proof:
    | { readonly kind: 'secret'; readonly secret: string }
    | {
        readonly kind: 'assertion';
        /** PEM of an RSA key. */
        readonly key: string;
        readonly kid: string;
        readonly audience: string;
        readonly resource: string;
      };
}

const TIMEOUT_MS = 30_000;
const ASSERTION_S = 60;
/** A session that ends with its token is renewed by another one, not by the same for the rest of its life. */
const SPARE_MS = RENEWAL_MS + 5000;
const MAX_ANSWER = 2 ** 20;

/** Gives the token, a new one when the last is about to expire. Rejects with what the provider said, without secrets. */
export function readToken(source: TokenSource): () => Promise<string> {
  const where = withoutSecrets(source.endpoint);
  let current: { readonly value: string; readonly expiresAt: number } | undefined;
  let asking: Promise<string> | undefined;
  const ask = async (): Promise<string> => {
    const { status, body } = await post(source, form(source)).catch((error: unknown) => {
      throw new Error(`no token from ${where}: ${messageOf(error)}`, { cause: error });
    });
    const answer = readJson(body);
    const value = answer['access_token'];
    if (status !== 200 || typeof value !== 'string') {
      const why = answer['error_description'] ?? answer['error'] ?? 'no access_token in the answer';
      const error = new Error(`no token from ${where}: status ${status}, ${JSON.stringify(why)}`);
      throw Object.assign(error, { retriable: status >= 500 });
    }
    const seconds = Number(answer['expires_in'] ?? 0);
    current = { value, expiresAt: Date.now() + seconds * 1000 - SPARE_MS };
    return value;
  };
  return async () => {
    if (current && Date.now() < current.expiresAt) return current.value;
    return (asking ??= ask().finally(() => (asking = undefined)));
  };
}

function form({ clientId, scopes, proof, endpoint }: TokenSource): URLSearchParams {
  const fields = new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: clientId,
    scope: scopes.join(' '),
  });
  if (proof.kind === 'secret') {
    fields.set('client_secret', proof.secret);
  } else {
    fields.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer');
    fields.set('client_assertion', assertion(clientId, proof.audience || endpoint, proof.key, proof.kid));
    if (proof.resource !== '') fields.set('resource', proof.resource);
  }
  return fields;
}

/** A JWT of RFC 7523, signed with RS256. */
function assertion(clientId: string, audience: string, key: string, kid: string): string {
  const now = Math.floor(Date.now() / 1000);
  const header = { alg: 'RS256', typ: 'JWT', ...(kid !== '' && { kid }) };
  const claims = { iss: clientId, sub: clientId, aud: audience, jti: randomUUID(), iat: now, exp: now + ASSERTION_S };
  const signed = [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  return `${signed}.${createSign('RSA-SHA256').update(signed).sign(key).toString('base64url')}`;
}

function readJson(body: string): Record<string, unknown> {
  try {
    const read: unknown = JSON.parse(body);
    return typeof read === 'object' && read !== null ? (read as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function post(source: TokenSource, fields: URLSearchParams): Promise<{ status: number; body: string }> {
  const url = new URL(source.endpoint);
  const content = fields.toString();
  const options = {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': Buffer.byteLength(content) },
    signal: AbortSignal.timeout(TIMEOUT_MS),
    rejectUnauthorized: !source.skipVerify,
    ...(source.ca !== '' && { ca: source.ca }),
  };
  return new Promise((resolve, reject) => {
    const request = (url.protocol === 'https:' ? requestHttps : requestHttp)(url, options, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk;
        if (body.length > MAX_ANSWER) request.destroy(new Error('the answer is too long'));
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(content);
  });
}
