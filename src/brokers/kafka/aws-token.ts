/**
 * Tokens of AWS IAM, as the brokers of Amazon MSK want them: a presigned URL for what is asked for, in base64url. They
 * are signed here, so each authentication has a new one; only credentials come from elsewhere. The libraries of AWS are
 * loaded with the first.
 */

import { messageOf } from '../../core/errors.ts';
import { deadlineAfter, failAtAbort } from '../../lib/deadline.ts';
import type { AwsSettings } from './aws-settings.ts';

interface Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
  readonly expiration?: Date;
}

/** The longest that brokers accept. */
const LIFETIME_S = 900;
/** How long credentials may take, as in Dapr. */
const PATIENCE_MS = 10_000;
const CHAIN =
  'give accessKey and secretKey, or let the default provider chain of AWS find some: AWS_ACCESS_KEY_ID, a profile, a role of the machine';

/** Gives a token that is valid for 15 minutes, or as long as the credentials. Rejects with what is wrong, without secrets. */
export function awsToken(settings: AwsSettings): () => Promise<string> {
  let provider: Promise<() => Promise<Credentials>> | undefined;
  const credentials = async (): Promise<Credentials> => (await (provider ??= credentialsOf(settings)))();
  return async () => {
    const found = await inTime(credentials()).catch((error: unknown) => {
      throw withoutCredentials(error, settings);
    });
    return presign(settings.region, found);
  };
}

async function credentialsOf(settings: AwsSettings): Promise<() => Promise<Credentials>> {
  const { region, accessKey, secretKey, sessionToken, assumeRoleArn, sessionName } = settings;
  const given = { accessKeyId: accessKey, secretAccessKey: secretKey, ...(sessionToken !== '' && { sessionToken }) };
  if (accessKey !== '' && assumeRoleArn === '') return () => Promise.resolve(given);
  const { fromNodeProviderChain, fromTemporaryCredentials } = await import('@aws-sdk/credential-providers');
  if (assumeRoleArn === '') return fromNodeProviderChain({ clientConfig: { region } });
  const assume = fromTemporaryCredentials({
    ...(accessKey !== '' && { masterCredentials: given }),
    params: { RoleArn: assumeRoleArn, RoleSessionName: sessionName },
    clientConfig: { region },
  });
  const { doesIdentityRequireRefresh, isIdentityExpired, memoizeIdentityProvider } = await import('@smithy/core');
  return memoizeIdentityProvider(assume, isIdentityExpired, doesIdentityRequireRefresh) as () => Promise<Credentials>;
}

async function presign(region: string, credentials: Credentials): Promise<string> {
  const [{ SignatureV4 }, { Hash }] = await Promise.all([import('@smithy/signature-v4'), import('@smithy/core/serde')]);
  const host = `kafka.${region}.amazonaws.com`;
  const sha256 = Hash.bind(null, 'sha256');
  const signer = new SignatureV4({ service: 'kafka-cluster', region, credentials, sha256, applyChecksum: false });
  const leftS = ((credentials.expiration?.getTime() ?? Infinity) - Date.now()) / 1000;
  const action = { Action: 'kafka-cluster:Connect' };
  const { query = {} } = await signer.presign(
    { method: 'GET', protocol: 'https:', hostname: host, path: '/', headers: { host }, query: action },
    { expiresIn: Math.floor(Math.min(LIFETIME_S, leftS)) },
  );
  const fields = new URLSearchParams({ ...(query as Record<string, string>), 'User-Agent': 'dapr-pubsub' });
  return Buffer.from(`https://${host}/?${fields}`).toString('base64url');
}

async function inTime<T>(work: Promise<T>): Promise<T> {
  const { signal, cancel } = deadlineAfter(PATIENCE_MS);
  return Promise.race([work, failAtAbort(signal, () => `none within ${PATIENCE_MS} ms`)]).finally(cancel);
}

/** One that time may mend is retriable: nobody answered, or not yet. */
function withoutCredentials(error: unknown, { assumeRoleArn }: AwsSettings): Error {
  const { name, $fault: fault } = error as { name?: string; $fault?: string };
  const what = assumeRoleArn === '' ? 'no AWS credentials' : `no AWS credentials of ${assumeRoleArn}`;
  const isNone = name === 'CredentialsProviderError';
  const explained = new Error(`${what}: ${messageOf(error)}${isNone ? `; ${CHAIN}` : ''}`, { cause: error });
  return Object.assign(explained, { retriable: !isNone && fault !== 'client' });
}
