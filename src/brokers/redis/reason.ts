import { messageOf } from '../../core/errors.ts';

/** What the client library says of itself, in words of the network. The rest is what server or system said. */
const PLAIN: readonly (readonly [RegExp, string])[] = [
  [
    /^(Connection is closed|Stream isn't writeable|Cluster isn't ready|Cluster is disconnect).*/s,
    'the connection was closed',
  ],
  [/^Socket timeout\. .* in (\d+)ms\.$/, 'the server did not answer within $1ms (readTimeout)'],
  [/^(Unknown RESP type|Command queue state error).*/s, 'what came is no answer of a Redis server: is there a proxy?'],
  [/^None of startup nodes is available$/, 'no node of the cluster answers'],
];

/** Why something failed, for whoever runs the server. */
export function reasonOf(error: unknown): string {
  return PLAIN.reduce((text, [pattern, plain]) => text.replace(pattern, plain), messageOf(error));
}
