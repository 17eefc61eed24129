/** AWS IAM, at a real broker that verifies the signature of each token as brokers of Amazon MSK do. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { kafkaJars } from '../../scripts/needs.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { refused, roundTrip } from './_site.ts';

const REGION = 'eu-west-1';
const ROLE = 'arn:aws:iam::123456789012:role/kafka';
/** The secrets that the broker knows, by access key. Each test has its own. */
const SECRETS = { AKGIVEN: 'sesame', AKWRONG: 'right', AKENV: 'from/env+', AKROLE: 'assumed', AKBRIEF: 'brief', AKAGAIN: 'again' }; // prettier-ignore

const ends: (() => unknown)[] = [];
const folder = mkdtempSync(join(tmpdir(), 'msk-test-'));
const log = join(folder, 'tokens');
let server: KafkaServer;

test.before(async () => {
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  // Nothing of the machine's own is found.
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name];
  const nowhere = join(folder, 'nowhere');
  const empty = { AWS_EC2_METADATA_DISABLED: 'true', AWS_CONFIG_FILE: nowhere, AWS_SHARED_CREDENTIALS_FILE: nowhere };
  Object.assign(process.env, empty);
  const source = join(import.meta.dirname, 'MskTokens.java');
  execFileSync('javac', ['-cp', join(kafkaJars, '*'), '-d', folder, source]);
  const secrets = Object.entries(SECRETS).map(([key, secret]) => `secret_${key}="${secret}"`);
  const login = 'org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required';
  const jaas = `${login} unsecuredLoginStringClaim_sub="broker" region="${REGION}" log="${log}" ${secrets.join(' ')};`;
  const listener = (name: string, sessionMs: number): Record<string, string> => ({
    [`listener.name.${name}.sasl.enabled.mechanisms`]: 'OAUTHBEARER',
    [`listener.name.${name}.oauthbearer.sasl.jaas.config`]: jaas,
    [`listener.name.${name}.oauthbearer.sasl.server.callback.handler.class`]: 'MskTokens',
    [`listener.name.${name}.oauthbearer.connections.max.reauth.ms`]: String(sessionMs),
  });
  server = await KafkaServer.start((end) => ends.push(end), {
    listeners: { MSK: 'SASL_PLAINTEXT', BRIEF: 'SASL_PLAINTEXT' },
    classes: [folder],
    properties: { ...listener('msk', 3_600_000), ...listener('brief', 1500) },
  });
});
test.after.always(() => Promise.all(ends.reverse().map((end) => end())));

/** The tokens that the broker has met with this access key. */
const tokensOf = (accessKey: string): URL[] =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.includes(`Credential=${accessKey}%2F`))
    .map((line) => new URL(line));

const settings = (more: Record<string, string>, listener = 'MSK'): Record<string, string> => ({
  brokers: server.addressOf(listener),
  authType: 'awsiam',
  disableTls: 'true',
  region: REGION,
  ...more,
});

/** An HTTP server of AWS, of which the answer says what it gives. */
async function startAws(
  t: ExecutionContext,
  answer: (body: URLSearchParams, request: IncomingMessage, response: ServerResponse) => string,
): Promise<string> {
  const aws: Server = createServer((request, response) => {
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => response.end(answer(new URLSearchParams(body), request, response)));
  });
  await new Promise<void>((resolve) => aws.listen(0, '127.0.0.1', resolve));
  t.teardown(() => (aws.close(), aws.closeAllConnections()));
  return `http://127.0.0.1:${(aws.address() as AddressInfo).port}`;
}

function setEnvironment(t: ExecutionContext, environment: Record<string, string>): void {
  Object.assign(process.env, environment);
  t.teardown(() => Object.keys(environment).forEach((name) => delete process.env[name]));
}

test.serial('given keys get in, by a presigned URL for Connect', async (t) => {
  const keys = { accessKey: 'AKGIVEN', secretKey: 'sesame', sessionToken: 'to/ken+=' };
  await roundTrip(t, settings(keys));
  const [first] = tokensOf('AKGIVEN');
  t.is(`${first?.origin}${first?.pathname}`, `https://kafka.${REGION}.amazonaws.com/`);
  const { 'X-Amz-Date': at = '', 'X-Amz-Signature': signature = '', ...rest } = Object.fromEntries(first?.searchParams ?? []); // prettier-ignore
  t.regex(signature, /^[0-9a-f]{64}$/);
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(at) ?? [];
  t.true(Math.abs(Date.now() - Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)) < 120_000);
  t.deepEqual(rest, {
    Action: 'kafka-cluster:Connect',
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `AKGIVEN/${at.slice(0, 8)}/${REGION}/kafka-cluster/aws4_request`,
    'X-Amz-Expires': '900',
    'X-Amz-Security-Token': 'to/ken+=',
    'X-Amz-SignedHeaders': 'host',
    'User-Agent': 'dapr-pubsub',
  });
});

test.serial(
  'a wrong secret and a wrong region are refused at once, by a sentence that says what to look at',
  async (t) => {
    const advice =
      /^kafka: error connecting to .*: SASL OAUTHBEARER authentication failed: (?!.*hush).*invalid_token.*; region has to be that of the cluster, and .* kafka-cluster:Connect$/;
    await refused(t, settings({ accessKey: 'AKWRONG', secretKey: 'hush' }), advice);
    await refused(t, settings({ accessKey: 'AKWRONG', secretKey: 'right', region: 'eu-west-2' }), advice);
    t.is(tokensOf('AKWRONG').length, 2);
  },
);

test.serial('without keys the default provider chain is asked', async (t) => {
  setEnvironment(t, { AWS_ACCESS_KEY_ID: 'AKENV', AWS_SECRET_ACCESS_KEY: SECRETS.AKENV });
  await roundTrip(t, settings({}));
  t.true(tokensOf('AKENV').length > 0);
});

test.serial('a chain that finds nothing is an error that says what may be given', async (t) => {
  await refused(t, settings({}), /: no AWS credentials: Could not load credentials from any providers; give accessKey and secretKey, or let .* AWS_ACCESS_KEY_ID, a profile, a role of the machine$/); // prettier-ignore
});

test.serial('a role is assumed by the given keys, once for all connections', async (t) => {
  const asked: URLSearchParams[] = [];
  const by: string[] = [];
  const sts = await startAws(t, (form, { headers }) => {
    asked.push(form);
    by.push(/Credential=(\w+)\//.exec(headers.authorization ?? '')?.[1] ?? '');
    const expiration = new Date(Date.now() + 3_600_000).toISOString();
    const found = `<AccessKeyId>AKROLE</AccessKeyId><SecretAccessKey>assumed</SecretAccessKey><SessionToken>st</SessionToken><Expiration>${expiration}</Expiration>`;
    return `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>${found}</Credentials></AssumeRoleResult></AssumeRoleResponse>`;
  });
  setEnvironment(t, { AWS_ENDPOINT_URL_STS: sts });
  const keys = { accessKey: 'AKCALLER', secretKey: 'caller' };
  await roundTrip(t, settings({ ...keys, assumeRoleArn: ROLE, sessionName: 'orders' }));
  t.deepEqual(by, ['AKCALLER']);
  t.like(Object.fromEntries(asked[0] ?? []), { Action: 'AssumeRole', RoleArn: ROLE, RoleSessionName: 'orders' });
  t.true(tokensOf('AKROLE').length > 1);
  t.is(tokensOf('AKROLE')[0]?.searchParams.get('X-Amz-Security-Token'), 'st');
});

test.serial('a role that may not be assumed is an error at once, with what AWS says', async (t) => {
  const sts = await startAws(t, (_, __, response) => {
    response.statusCode = 403;
    return '<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>';
  });
  setEnvironment(t, { AWS_ENDPOINT_URL_STS: sts });
  const given = { accessKey: 'AKCALLER', secretKey: 'hush', assumeRoleArn: ROLE };
  await refused(
    t,
    settings(given),
    /^(?!.*hush).*: no AWS credentials of arn:aws:iam::123456789012:role\/kafka: .*not you/,
  );
});

test.serial('where a session runs out another token is shown', async (t) => {
  const given = settings({ accessKey: 'AKBRIEF', secretKey: 'brief' }, 'BRIEF');
  await roundTrip(t, given, () => tokensOf('AKBRIEF').length > 10);
});

test.serial('credentials that expire are asked for again, and no token outlives them', async (t) => {
  let given = 0;
  const url = await startAws(t, (_, __, response) => {
    response.setHeader('content-type', 'application/json');
    const until = new Date(Date.now() + 4000).toISOString();
    return JSON.stringify({
      AccessKeyId: 'AKAGAIN',
      SecretAccessKey: 'again',
      Token: `t${++given}`,
      Expiration: until,
    });
  });
  setEnvironment(t, { AWS_CONTAINER_CREDENTIALS_FULL_URI: url });
  const shown = (): Set<string | null> => new Set(tokensOf('AKAGAIN').map((one) => one.searchParams.get('X-Amz-Security-Token'))); // prettier-ignore
  await roundTrip(t, settings({}), () => shown().size > 5);
  for (const one of tokensOf('AKAGAIN')) t.regex(one.searchParams.get('X-Amz-Expires') ?? '', /^[1-4]$/);
});
