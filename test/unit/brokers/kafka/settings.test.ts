import test from 'ava';
import { kafkaBroker } from '../../../../src/brokers/kafka/broker.ts';
import { readSettings } from '../../../../src/brokers/kafka/settings.ts';

const LEAST = { brokers: 'localhost:9092', authType: 'none' };

test('brokers and a way in are enough, and nothing is lost by the defaults', (t) => {
  t.like(readSettings(LEAST), {
    brokers: [{ host: 'localhost', port: 9092 }],
    authType: 'none',
    hasTls: false,
    initialOffset: 'newest',
    ordering: 'key',
    producerRequiredAcks: 'all',
    maxMessageBytes: 2 ** 20,
    consumerGroupRebalanceStrategy: 'range',
    partitioner: 'sarama',
    heartbeatInterval: 3000,
    sessionTimeout: 10_000,
    dialTimeout: 30_000,
  });
});

test('brokers are a comma list, also of IPv6 addresses', (t) => {
  t.deepEqual(readSettings({ ...LEAST, brokers: ' a:1, [::1]:2 ,c.d:3' }).brokers, [
    { host: 'a', port: 1 },
    { host: '::1', port: 2 },
    { host: 'c.d', port: 3 },
  ]);
});

test('bare numbers are seconds where they are in Dapr, nothing and less is the default', (t) => {
  const settings = readSettings({ ...LEAST, sessionTimeout: '20', heartbeatInterval: '500ms', dialTimeout: '0', readTimeout: '-1', consumeRetryInterval: '250' }); // prettier-ignore
  t.like(settings, {
    sessionTimeout: 20_000,
    heartbeatInterval: 500,
    dialTimeout: 30_000,
    readTimeout: 30_000,
    consumeRetryInterval: 250,
  });
});

test('names and choices match in any case, unknown names are ignored', (t) => {
  t.like(readSettings({ BROKERS: 'a:1', authtype: 'NONE', clientID: 'me', initialOffset: 'Oldest', other: 'x' }), {
    authType: 'none',
    hasTls: false,
    clientId: 'me',
    initialOffset: 'oldest',
  });
});

test('the former authRequired says the same', (t) => {
  const read = (more: Record<string, string>) => readSettings({ brokers: 'a:1', ...more }).authType;
  t.is(read({ authRequired: 'false' }), 'none');
  t.is(read({ authRequired: 'true', saslUsername: 'u', saslPassword: 'p' }), 'password');
  t.is(read({ authRequired: 'true', clientCert: 'c', clientKey: 'k' }), 'mtls');
});

test('every way in but none has TLS, unless it is switched off', (t) => {
  const user = { brokers: 'a:1', authType: 'password', saslUsername: 'u', saslPassword: 'p' };
  t.true(readSettings(user).hasTls);
  t.false(readSettings({ ...user, disableTls: 'yes' }).hasTls);
});

test('everything that cannot be is refused at once', (t) => {
  const refused = (raw: Record<string, string>, message: string) => t.throws(() => readSettings(raw), { message });
  refused({}, 'authType is required; brokers is required');
  refused({ ...LEAST, brokers: 'a' }, "brokers wants host:port, not 'a'");
  refused({ ...LEAST, brokers: 'kafka://me:s3cret@a:1' }, "brokers wants host:port, not 'kafka://***@a:1'");
  refused(
    { ...LEAST, authType: 'magic' },
    "authType wants one of none, password, certificate, mtls, oidc, oidc_private_key_jwt, awsiam, not 'magic'",
  );
  refused({ ...LEAST, authType: 'password' }, 'authType password wants saslUsername; authType password wants saslPassword'); // prettier-ignore
  refused({ ...LEAST, authType: 'certificate' }, 'authType certificate wants caCert');
  refused({ ...LEAST, clientCert: 'c' }, 'clientCert and clientKey belong together');
  refused({ ...LEAST, oidcExtensions: '{}' }, 'oidcExtensions wants a JSON object with at least one text');
  refused({ ...LEAST, excludeHeaderMetaRegex: '(' }, "excludeHeaderMetaRegex wants a regular expression, not '('");
  refused({ ...LEAST, sessionTimeout: '3s' }, 'heartbeatInterval must be shorter than sessionTimeout');
});

test('what awsiam needs is said with what to do about it', (t) => {
  const least = { brokers: 'a:1', authType: 'awsiam', region: 'eu-west-1' };
  const refused = (more: Record<string, string>, message: string) =>
    t.throws(() => readSettings({ ...least, ...more }), { message });
  refused({ region: '' }, 'authType awsiam wants region, the AWS region of the cluster such as eu-west-1');
  refused({ region: 'Ireland' }, "region wants an AWS region such as eu-west-1, not 'Ireland'");
  const both = 'accessKey and secretKey belong together: give both, or neither for the default provider chain';
  refused({ accessKey: 'a' }, both);
  refused({ awsSecretKey: 's' }, both);
  refused({ sessionToken: 't' }, 'sessionToken belongs to accessKey and secretKey: give them too, or leave it out');
  refused(
    { assumeRoleArn: 'kafka' },
    "assumeRoleArn wants the ARN of a role such as arn:aws:iam::123456789012:role/kafka, not 'kafka'",
  );
  refused({ trustAnchorArn: 'a' }, 'trustAnchorArn and trustProfileArn are not supported: leave them out, and let a profile of AWS get credentials by credential_process'); // prettier-ignore
  t.notThrows(() => readSettings({ ...LEAST, accessKey: 'of something else' }));
});

test('settings of awsiam have their former names too, which count where the others are empty', (t) => {
  const former = {
    awsRegion: 'us-gov-west-1',
    awsAccessKey: 'a',
    awsSecretKey: 's',
    awsSessionToken: 't',
    awsIamRoleArn: 'arn:aws-us-gov:iam::123456789012:role/path/kafka',
    awsStsSessionName: 'n',
  };
  t.like(readSettings({ brokers: 'a:1', authType: 'AwsIam', region: '', ...former }), {
    authType: 'awsiam',
    hasTls: true,
    region: 'us-gov-west-1',
    accessKey: 'a',
    secretKey: 's',
    sessionToken: 't',
    assumeRoleArn: 'arn:aws-us-gov:iam::123456789012:role/path/kafka',
    sessionName: 'n',
  });
  const both = { brokers: 'a:1', authType: 'awsiam', awsRegion: 'eu-west-2', region: 'eu-west-1' };
  t.like(readSettings(both), { region: 'eu-west-1', sessionName: 'DaprDefaultSession' });
});

test('the documentation names every setting', (t) => {
  const table = kafkaBroker.describe();
  for (const name of ['brokers', 'saslMechanism', 'oidcKid', 'ordering', 'schemaRegistryURL', 'backOffMaxRetries']) {
    t.true(table.includes(`| \`${name}\``), name);
  }
});
