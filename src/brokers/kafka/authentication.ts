/** Who we are towards Kafka: TLS and SASL as kafkajs wants them. */

import { awsToken } from './aws-token.ts';
import { oauthBearer } from './oauth-bearer.ts';
import { readToken, type TokenSource } from './tokens.ts';
import type { KafkaSettings } from './settings.ts';

const AWS_ADVICE =
  'region has to be that of the cluster, and who the credentials belong to needs a policy that allows kafka-cluster:Connect';

/** Options of `tls.connect`; null for a plain connection. */
export function tlsOptions(settings: KafkaSettings): object | null {
  if (!settings.hasTls) return null;
  return {
    rejectUnauthorized: !settings.skipVerify,
    ...(settings.caCert !== '' && { ca: settings.caCert }),
    ...(settings.clientCert !== '' && { cert: settings.clientCert, key: settings.clientKey }),
  };
}

/** What each connection shows; null where the certificate or nothing says who we are. */
export function saslOptions(settings: KafkaSettings): object | null {
  const { authType, saslUsername: username, saslPassword: password, saslMechanism } = settings;
  if (authType === 'password') {
    const scram = /^SHA-(256|512)$/.exec(saslMechanism)?.[1];
    return { mechanism: scram === undefined ? 'plain' : `scram-sha-${scram}`, username, password };
  }
  if (authType === 'oidc' || authType === 'oidc_private_key_jwt') {
    const source: TokenSource = {
      endpoint: settings.oidcTokenEndpoint,
      clientId: settings.oidcClientID,
      scopes: settings.oidcScopes.split(',').map((scope) => scope.trim()),
      ca: settings.caCert,
      skipVerify: settings.skipVerify,
      proof:
        authType === 'oidc'
          ? { kind: 'secret', secret: settings.oidcClientSecret }
          : {
              kind: 'assertion',
              key: settings.oidcClientAssertionKey,
              kid: settings.oidcKid,
              audience: settings.oidcAudience || settings.oidcTokenEndpoint,
              resource: settings.oidcResource,
            },
    };
    return oauthBearer(readToken(source), settings.extensions);
  }
  if (authType === 'awsiam') return oauthBearer(awsToken(settings), {}, AWS_ADVICE);
  return null;
}
