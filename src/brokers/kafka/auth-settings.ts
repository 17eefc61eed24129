/** Settings that say how to get in: TLS, and who we are. */

import { boolean, text, type Setting, type Values } from '../../lib/settings.ts';
import { AWS, awsProblems } from './aws-settings.ts';

const AUTH_TYPES = ['none', 'password', 'certificate', 'mtls', 'oidc', 'oidc_private_key_jwt', 'awsiam'] as const;
export type AuthType = (typeof AUTH_TYPES)[number];

const secret = (description: string): Setting<string> => text({ default: '', description });

export const AUTHENTICATION = {
  authType: {
    ...text({ default: '', description: `Required. ${AUTH_TYPES.map((one) => `\`${one}\``).join(', ')}.` }),
    kind: 'choice',
  },
  authRequired: {
    ...boolean({
      default: false,
      description: 'Former way to say it: `false` is `none`, `true` is `password` or `mtls`.',
    }),
    shown: '',
  },
  saslUsername: text({ default: '', description: 'User, for `password`.' }),
  saslPassword: secret('Password, for `password`.'),
  saslMechanism: text({ default: 'PLAIN', description: '`SHA-256` or `SHA-512` for SCRAM, anything else is PLAIN.' }),
  disableTls: boolean({ default: false, description: 'No TLS. Without it every `authType` but `none` has TLS.' }),
  skipVerify: boolean({ default: false, description: 'Accept any certificate. For tests only.' }),
  caCert: text({ default: '', description: 'PEM of the authority to trust instead of the well-known ones.' }),
  clientCert: text({ default: '', description: 'PEM of our certificate. With `clientKey`; required for `mtls`.' }),
  clientKey: secret('PEM of our private key. With `clientCert`.'),
  oidcTokenEndpoint: text({ default: '', description: 'Where to get tokens, for `oidc` and `oidc_private_key_jwt`.' }),
  oidcClientID: text({ default: '', description: 'Client id, for the same.' }),
  oidcClientSecret: secret('Client secret, for `oidc`.'),
  oidcScopes: text({ default: 'openid', description: 'Scopes to ask for, a comma list.' }),
  oidcExtensions: text({ default: '', description: 'SASL extensions, a JSON object of texts.' }),
  oidcClientAssertionCert: text({ default: '', description: 'PEM of the certificate, for `oidc_private_key_jwt`.' }),
  oidcClientAssertionKey: secret('PEM of the RSA key that signs, for `oidc_private_key_jwt`.'),
  oidcResource: text({ default: '', description: '`resource` to ask for, for `oidc_private_key_jwt`.' }),
  oidcAudience: text({ default: '', description: '`aud` of the assertion. By default the token endpoint.' }),
  oidcKid: text({ default: '', description: '`kid` of the assertion. By default none.' }),
  ...AWS,
};

export interface Authentication extends Omit<Values<typeof AUTHENTICATION>, 'authType'> {
  readonly authType: AuthType;
}

/** `isAuthRequiredSet`: whether the former setting is there at all. Throws where neither says it. */
export function readAuthType(values: Values<typeof AUTHENTICATION>, isAuthRequiredSet: boolean): AuthType {
  const wanted = values.authType.trim().toLowerCase();
  const found = AUTH_TYPES.find((one) => one === wanted);
  if (found !== undefined) return found;
  if (wanted !== '') throw new Error(`authType wants one of ${AUTH_TYPES.join(', ')}, not '${values.authType}'`);
  if (!isAuthRequiredSet) throw new Error('authType is required');
  if (!values.authRequired) return 'none';
  return values.saslPassword === '' ? 'mtls' : 'password';
}

export function readExtensions(json: string): Record<string, string> {
  if (json === '') return {};
  const wanted = new Error('oidcExtensions wants a JSON object with at least one text');
  try {
    const read: unknown = JSON.parse(json);
    const entries = typeof read === 'object' && read !== null ? Object.entries(read) : [];
    if (entries.length === 0 || !entries.every(([, value]) => typeof value === 'string')) throw wanted;
    return Object.fromEntries(entries) as Record<string, string>;
  } catch {
    throw wanted;
  }
}

const NEEDED: Readonly<Record<AuthType, readonly (keyof typeof AUTHENTICATION)[]>> = {
  none: [],
  password: ['saslUsername', 'saslPassword'],
  certificate: ['caCert'],
  mtls: ['clientCert', 'clientKey'],
  oidc: ['oidcTokenEndpoint', 'oidcClientID', 'oidcClientSecret'],
  oidc_private_key_jwt: ['oidcTokenEndpoint', 'oidcClientID', 'oidcClientAssertionCert', 'oidcClientAssertionKey'],
  awsiam: [],
};

/** What is wrong, each with what would be right. */
export function authProblems(settings: Authentication): string[] {
  const problems = NEEDED[settings.authType]
    .filter((name) => settings[name] === '')
    .map((name) => `authType ${settings.authType} wants ${name}`);
  if ((settings.clientCert === '') !== (settings.clientKey === '') && settings.authType !== 'mtls') {
    problems.push('clientCert and clientKey belong together');
  }
  if (settings.authType === 'awsiam') problems.push(...awsProblems(settings));
  return problems;
}
