/** The mechanism OAUTHBEARER of SASL, RFC 7628. (That of kafkajs takes what a broker says against a token for a yes.) */

import { messageOf } from '../../core/errors.ts';
import { SaslError, typeOf } from './kafkajs.ts';

interface Exchange {
  /** One message there and one back, as bytes with their length before them. */
  saslAuthenticate(step: {
    readonly request: { encode(): Promise<Buffer> };
    readonly response: { decode(bytes: Buffer): Promise<Buffer>; parse(bytes: Buffer): Promise<Buffer> };
  }): Promise<Buffer>;
}

const LENGTH_BYTES = 4;

/**
 * What kafkajs wants to know of it. `token` is called for each authentication, also where a session runs out; `advice`
 * follows what the broker says when it refuses one.
 */
export function oauthBearer(
  token: () => Promise<string>,
  extensions: Readonly<Record<string, string>> = {},
  advice = '',
): object {
  const authenticate = async ({ saslAuthenticate }: Exchange): Promise<void> => {
    const fields = { auth: `Bearer ${await token()}`, ...extensions };
    const message = `n,,\x01${Object.entries(fields).map(([name, value]) => `${name}=${value}\x01`).join('')}\x01`; // prettier-ignore
    const length = Buffer.alloc(LENGTH_BYTES);
    length.writeInt32BE(Buffer.byteLength(message));
    const answer = await saslAuthenticate({
      request: { encode: () => Promise.resolve(Buffer.concat([length, Buffer.from(message)])) },
      response: { decode: (bytes) => Promise.resolve(bytes), parse: (bytes) => Promise.resolve(bytes) },
    }).catch((error: unknown) => {
      throw typeOf(error) === 'SASL_AUTHENTICATION_FAILED' ? refusal(messageOf(error), advice) : error;
    });
    const problem = answer.subarray(LENGTH_BYTES).toString();
    if (problem !== '') throw refusal(problem, advice);
  };
  return {
    mechanism: 'oauthbearer',
    authenticationProvider: (exchange: Exchange) => ({ authenticate: () => authenticate(exchange) }),
  };
}

const refusal = (why: string, advice: string): Error =>
  new SaslError(`SASL OAUTHBEARER authentication failed: ${why}${advice && `; ${advice}`}`);
