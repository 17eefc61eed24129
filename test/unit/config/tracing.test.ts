import test from 'ava';
import { NO_TRACING, tracingOf, withEnvironment, type TracingSettings } from '../../../src/config/tracing.ts';
import { Fields } from '../../../src/lib/fields.ts';
import { environmentOf, memoryLog } from './_support.ts';

const read = (spec: object, base = NO_TRACING, log = memoryLog()): TracingSettings =>
  tracingOf(new Fields(spec, ''), base, log);
const otel = (more: object): object => ({ otel: { endpointAddress: 'host:4317', protocol: 'grpc', ...more } });

test('a collector is encrypted unless the file says otherwise, and has its path where the protocol is HTTP', (t) => {
  const rest = { headers: {}, timeoutMs: 10_000 };
  t.deepEqual(read(otel({})).otlp, { url: 'https://host:4317', protocol: 'grpc', ...rest });
  t.deepEqual(read(otel({ isSecure: false })).otlp?.url, 'http://host:4317');
  const http = { protocol: 'http', isSecure: false };
  t.is(read(otel(http)).otlp?.url, 'http://host:4317/v1/traces');
  t.is(read(otel({ ...http, endpointAddress: 'http://host/v1/traces/' })).otlp?.url, 'http://host/v1/traces');
  t.is(read(otel({ ...http, endpointAddress: 'h:1/a/?token=t' })).otlp?.url, 'http://h:1/a/v1/traces?token=t');
  t.deepEqual(read(otel({ headers: 'a=1, b=x%3Dy', timeout: '2s' })).otlp, {
    url: 'https://host:4317',
    protocol: 'grpc',
    headers: { a: '1', b: 'x=y' },
    timeoutMs: 2000,
  });
});

test('a later file keeps what it does not name', (t) => {
  const first = read({ samplingRate: '1', zipkin: { endpointAddress: 'http://z' }, ...otel({}) });
  const second = read({ stdout: true }, first);
  t.deepEqual(second, { ...first, stdout: true });
});

test('a protocol that is none is refused, a missing one is told', (t) => {
  const log = memoryLog();
  t.throws(() => read(otel({ protocol: 'carrier pigeon' })), {
    message: 'invalid protocol carrier pigeon provided for Otel endpoint',
  });
  t.throws(() => read(otel({ endpointAddress: 'a b' })), { message: /no address of an Otel endpoint/ });
  const secret = t.throws(() => read(otel({ endpointAddress: 'http://me:s3cret@a b?token=s3cret' })));
  t.false(secret.message.includes('s3cret'));
  t.is(read(otel({ protocol: '' }), NO_TRACING, log).otlp, undefined);
  t.is(log.lines.length, 1);
});

test('variables name a collector where the files do not, those for traces first', (t) => {
  const from = (variables: Record<string, string>, tracing = NO_TRACING) =>
    withEnvironment(tracing, environmentOf(variables));
  t.is(from({}).otlp, undefined);
  const variables = {
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://one:4318',
    OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
    OTEL_EXPORTER_OTLP_HEADERS: 'a=1',
    OTEL_EXPORTER_OTLP_TIMEOUT: '50',
  };
  t.deepEqual(from(variables).otlp, {
    url: 'http://one:4318/v1/traces',
    protocol: 'http',
    headers: { a: '1' },
    timeoutMs: 50,
  });
  const exact = { ...variables, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://two/x' };
  t.is(from(exact).otlp?.url, 'https://two/x');
  const plain = { OTEL_EXPORTER_OTLP_ENDPOINT: 'three:4317', OTEL_EXPORTER_OTLP_INSECURE: 'true' };
  t.like(from(plain).otlp, { url: 'http://three:4317', protocol: 'grpc' });
  t.is(from(variables, read(otel({}))).otlp?.url, 'https://host:4317');
});

test('the environment says who we are', (t) => {
  const variables = { OTEL_RESOURCE_ATTRIBUTES: 'service.name=a,zone=b', OTEL_BSP_SCHEDULE_DELAY: '7' };
  t.like(withEnvironment(NO_TRACING, environmentOf(variables)), {
    serviceName: 'a',
    attributes: { zone: 'b' },
    delayMs: 7,
  });
  const named = { ...variables, OTEL_SERVICE_NAME: 'c' };
  t.is(withEnvironment(NO_TRACING, environmentOf(named)).serviceName, 'c');
});
