/** Who gets in and who does not, at a real broker with listeners of every kind. */

import { generateKeyPairSync, verify } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { publish, Recorder, subscribe } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { makeCertificates } from '../_support/redis.ts';
import { until } from '../_support/until.ts';
import { openSite, refused, roundTrip } from './_site.ts';

const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
let pem: (name: 'ca.pem' | 'client.pem' | 'key.pem') => string;

test.before(async () => {
  const atEnd = (end: () => Promise<void>): void => void ends.push(end);
  const path = makeCertificates(atEnd);
  pem = (name) => readFileSync(path(name), 'utf8');
  const keystore = join(dirname(path('ca.pem')), 'keystore.pem');
  writeFileSync(keystore, pem('key.pem') + readFileSync(path('server.pem'), 'utf8'));
  const module = 'org.apache.kafka.common.security';
  const tls = {
    'ssl.keystore.type': 'PEM',
    'ssl.keystore.location': keystore,
    'ssl.truststore.type': 'PEM',
    'ssl.truststore.location': path('ca.pem'),
  };
  const plain = `${module}.plain.PlainLoginModule required user_alice="wonderland";`;
  const scram = `${module}.scram.ScramLoginModule required;`;
  server = await KafkaServer.start(atEnd, {
    listeners: {
      PASSWORD: 'SASL_SSL',
      BARE: 'SASL_PLAINTEXT',
      CERTIFICATE: 'SSL',
      OPENTLS: 'SSL',
      TOKEN: 'SASL_PLAINTEXT',
    },
    scram: ['SCRAM-SHA-256=[name=bob,password=builder]', 'SCRAM-SHA-512=[name=bob,password=builder]'],
    properties: {
      ...tls,
      'listener.name.certificate.ssl.client.auth': 'required',
      'listener.name.password.sasl.enabled.mechanisms': 'PLAIN,SCRAM-SHA-256,SCRAM-SHA-512',
      'listener.name.password.plain.sasl.jaas.config': plain,
      'listener.name.password.scram-sha-256.sasl.jaas.config': scram,
      'listener.name.password.scram-sha-512.sasl.jaas.config': scram,
      'listener.name.bare.sasl.enabled.mechanisms': 'PLAIN',
      'listener.name.bare.plain.sasl.jaas.config': plain,
      'listener.name.token.sasl.enabled.mechanisms': 'OAUTHBEARER',
      'listener.name.token.oauthbearer.sasl.jaas.config': `${module}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";`,
      'listener.name.token.oauthbearer.connections.max.reauth.ms': '3600000',
    },
  });
});
test.after.always(() => Promise.all(ends.map((end) => end())));

test('a password gets in, with PLAIN and with both SCRAMs, over TLS', async (t) => {
  const common = { brokers: server.addressOf('PASSWORD'), authType: 'password', caCert: pem('ca.pem') };
  await roundTrip(t, { ...common, saslUsername: 'alice', saslPassword: 'wonderland' });
  for (const saslMechanism of ['SHA-256', 'SHA-512']) {
    await roundTrip(t, { ...common, saslUsername: 'bob', saslPassword: 'builder', saslMechanism });
  }
});

test('a password without TLS gets in where TLS is switched off', async (t) => {
  const user = { authType: 'password', saslUsername: 'alice', saslPassword: 'wonderland' };
  await roundTrip(t, { ...user, brokers: server.addressOf('BARE'), disableTls: 'true' });
});

test('a wrong password is refused, and the error does not show it', async (t) => {
  const common = { brokers: server.addressOf('PASSWORD'), authType: 'password', caCert: pem('ca.pem') };
  for (const saslMechanism of ['PLAIN', 'SHA-256', 'SHA-512']) {
    const wrong = { ...common, saslUsername: 'bob', saslPassword: 'hatter', saslMechanism };
    await refused(t, wrong, /^kafka: error connecting to 127\.0\.0\.1:\d+: (?!.*hatter).*[Aa]uthentication failed/);
  }
});

test('a certificate gets in where one is required, and nobody does without', async (t) => {
  const common = { brokers: server.addressOf('CERTIFICATE'), caCert: pem('ca.pem') };
  await roundTrip(t, { ...common, authType: 'mtls', clientCert: pem('client.pem'), clientKey: pem('key.pem') });
  await refused(t, { ...common, authType: 'certificate' }, /error connecting to .*(alert|certificate)/);
});

test('a server is trusted by the given authority only, unless its certificate is not to be looked at', async (t) => {
  const brokers = server.addressOf('OPENTLS');
  await roundTrip(t, { brokers, authType: 'certificate', caCert: pem('ca.pem') });
  await roundTrip(t, { brokers, authType: 'certificate', caCert: pem('ca.pem'), skipVerify: 'true' });
  const client = { clientCert: pem('client.pem'), clientKey: pem('key.pem') };
  await refused(t, { brokers, authType: 'mtls', ...client }, /error connecting to .*certificate/);
});

/** A token endpoint that gives out what a broker without keys believes; remembers what it was asked. */
async function startTokenEndpoint(
  t: ExecutionContext,
  status = 200,
  lifetime = 3600,
): Promise<{ url: string; asked: URLSearchParams[] }> {
  const asked: URLSearchParams[] = [];
  const endpoint = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      asked.push(new URLSearchParams(body));
      const now = Math.floor(Date.now() / 1000);
      const claims = { sub: 'carol', iat: now, exp: now + lifetime, scope: 'kafka' };
      const parts = [{ alg: 'none' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
      const answer = { access_token: `${parts.join('.')}.`, expires_in: lifetime, token_type: 'bearer' };
      const refusal = { error: 'invalid_client', error_description: 'who are you' };
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(status === 200 ? answer : refusal));
    });
  });
  await new Promise<void>((resolve) => endpoint.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void endpoint.close());
  return { url: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/token`, asked };
}

/** Tokens for a client secret, of the endpoint at `url`. */
const withSecret = (url: string): Record<string, string> => ({
  brokers: server.addressOf('TOKEN'),
  authType: 'oidc',
  disableTls: 'true',
  oidcTokenEndpoint: url,
  oidcClientID: 'app',
  oidcClientSecret: 'hush',
});

test('a token for a client secret gets in, and is asked for once', async (t) => {
  const { url, asked } = await startTokenEndpoint(t);
  await roundTrip(t, {
    ...withSecret(url),
    oidcScopes: 'kafka, more',
    oidcExtensions: '{"logicalCluster":"one"}',
  });
  t.deepEqual(asked.map((form) => Object.fromEntries(form)), [
    { grant_type: 'client_credentials', client_id: 'app', client_secret: 'hush', scope: 'kafka more' },
  ]); // prettier-ignore
});

test('a token for a signed assertion gets in', async (t) => {
  const { url, asked } = await startTokenEndpoint(t);
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  await roundTrip(t, {
    brokers: server.addressOf('TOKEN'),
    authType: 'oidc_private_key_jwt',
    disableTls: 'true',
    oidcTokenEndpoint: url,
    oidcClientID: 'app',
    oidcClientAssertionCert: pem('client.pem'),
    oidcClientAssertionKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    oidcKid: 'key-1',
    oidcAudience: 'https://elsewhere/',
    oidcResource: 'kafka',
  });
  const [form] = asked;
  const [header = '', claims = '', signature = ''] = (form?.get('client_assertion') ?? '').split('.');
  const read = (part: string): unknown => JSON.parse(Buffer.from(part, 'base64url').toString());
  t.deepEqual(read(header), { alg: 'RS256', typ: 'JWT', kid: 'key-1' });
  t.like(read(claims), { iss: 'app', sub: 'app', aud: 'https://elsewhere/' });
  t.true(verify('RSA-SHA256', Buffer.from(`${header}.${claims}`), publicKey, Buffer.from(signature, 'base64url')));
  t.is(form?.get('resource'), 'kafka');
  t.is(asked.length, 1);
});

test('sessions of any length are renewed in time, by a token that is new', async (t) => {
  const { url, asked } = await startTokenEndpoint(t, 200, 4);
  const { broker } = await openSite(t, withSecret(url));
  const recorder = new Recorder();
  const topic = 'renewed';
  await subscribe(broker, topic, recorder);
  let published = 0;
  const began = performance.now();
  while (performance.now() - began < 9000) {
    await publish(broker, topic, String(published++));
    await until(() => recorder.messages.length === published, 'it arrived');
  }
  t.true(asked.length >= 6 && asked.length < 40, `${asked.length} tokens`);
});

test('a token that the broker does not believe is an error at once', async (t) => {
  const { url } = await startTokenEndpoint(t, 200, -60);
  await refused(t, withSecret(url), /error connecting to .*: SASL OAUTHBEARER authentication failed: .*invalid_token/);
});

test('a token that is refused is an error that says why and shows no secret', async (t) => {
  const { url } = await startTokenEndpoint(t, 401);
  await refused(t, withSecret(url), /^(?!.*hush).*no token from .*: status 401, "who are you"/);
});
