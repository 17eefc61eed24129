import { homedir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { Variables } from '../../../src/config/environment.ts';
import { FLAGS, IGNORED_FLAGS } from '../../../src/config/flag-table.ts';
import { parseDaprdFlags, usage, UsageError, type DaprdOptions } from '../../../src/config/flags.ts';

const words = (line: string): string[] => line.split(' ').filter(Boolean);

function run(line: string, variables: Variables = {}): DaprdOptions {
  const command = parseDaprdFlags(['--app-id=app1', ...words(line)], variables);
  if (command.kind !== 'run') throw new Error(command.kind);
  return command.options;
}

const refuses = (t: ExecutionContext, line: string, message: string | RegExp, variables: Variables = {}): void => {
  t.throws(() => run(line, variables), { instanceOf: UsageError, message }, line);
};

test('an app id is enough, and everything else has its default', (t) => {
  const { environment, ...options } = run('');
  t.deepEqual(options, {
    appId: 'app1',
    appPort: 0,
    appProtocol: 'http',
    appChannelAddress: '127.0.0.1',
    appMaxConcurrency: 0,
    appHealth: { enabled: false, path: '/healthz', intervalMs: 5000, timeoutMs: 500, threshold: 3 },
    appNotFound: 'retry',
    parity: false,
    disableInitEndpoints: new Set(),
    httpPort: { port: 3500, search: false },
    grpcPort: { port: 50_001, search: false },
    metricsPort: { port: 9090, search: false },
    listenAddresses: ['127.0.0.1', '::1'],
    publicPort: 0,
    publicAddress: '127.0.0.1',
    internalGrpcPort: 0,
    internalGrpcAddress: '127.0.0.1',
    unixDomainSocket: '',
    maxBodyBytes: 4 * 2 ** 20,
    readBufferBytes: 4096,
    allowedOrigins: [],
    resourcesPaths: [],
    configFiles: [],
    mode: 'standalone',
    hotReloadIntervalMs: 60_000,
    gracefulShutdownMs: 5000,
    blockShutdownMs: undefined,
    apiLogging: undefined,
    log: { level: 'info', json: false, file: '' },
    metrics: { enabled: true, address: '127.0.0.1' },
    profiling: { enabled: false, port: { port: 7777, search: false } },
    ignored: [],
    warnings: [],
  });
  t.true(path.isAbsolute(environment.home));
});

test('a value follows its flag or an equals sign, after one dash or two', (t) => {
  t.is(run('--app-port 3000').appPort, 3000);
  t.is(run('--app-port=3000').appPort, 3000);
  t.is(run('-app-port 3000').appPort, 3000);
  t.is(run('-app-port=3000').appPort, 3000);
  t.is(run('--dapr-graceful-shutdown-seconds -1').gracefulShutdownMs, 5000);
  t.is(run('--unix-domain-socket a=b').unixDomainSocket, 'a=b');
});

test('a boolean stands alone or has a value', (t) => {
  t.true(run('--log-as-json').log.json);
  t.true(run('--log-as-json --enable-metrics').log.json);
  t.false(run('--enable-metrics=false').metrics.enabled);
  t.false(run('--enable-metrics false').metrics.enabled);
  t.true(run('--enable-metrics=T').metrics.enabled);
  t.is(run('--enable-api-logging').apiLogging, true);
  t.is(run('--enable-api-logging=false').apiLogging, false);
});

test('lists are repeated or separated by commas, of other flags the last one counts', (t) => {
  t.deepEqual(run('--resources-path a,b --resources-path=c').resourcesPaths, ['a', 'b', 'c']);
  t.deepEqual(run('--config one.yaml --config two.yaml').configFiles, ['one.yaml', 'two.yaml']);
  t.deepEqual(run('--dapr-listen-addresses [::1],127.0.0.1,').listenAddresses, ['::1', '127.0.0.1']);
  t.is(run('--app-port 1 --app-port 2').appPort, 2);
});

test('what the reference suite gives every sidecar is taken with an empty environment', (t) => {
  const options = run(
    `--log-level=debug --app-protocol=http --dapr-grpc-port=40001 --dapr-http-port=40002
    --dapr-internal-grpc-port=40003 --dapr-internal-grpc-listen-address=127.0.0.1 --dapr-listen-addresses=127.0.0.1
    --dapr-public-port=40004 --dapr-public-listen-address=127.0.0.1 --metrics-port=40005
    --metrics-listen-address=127.0.0.1 --profile-port=40006 --enable-app-health-check=false
    --app-health-probe-interval=0 --app-health-threshold=0 --mode=standalone --enable-mtls=false
    --enable-api-logging=true --enable-profiling --placement-host-address=localhost:1 --sentry-address=localhost:2
    --scheduler-host-address=localhost:3 --control-plane-trust-domain=x --disable-builtin-k8s-secret-store
    --actors-disseminate-timeout=1s --app-binding-options-timeout=1s`.replaceAll('\n', ' '),
  );
  t.deepEqual(options.appHealth, { enabled: false, path: '/healthz', intervalMs: 5000, timeoutMs: 500, threshold: 3 });
  t.deepEqual([options.httpPort.port, options.grpcPort.port, options.metricsPort.port], [40_002, 40_001, 40_005]);
  t.deepEqual([options.publicPort, options.publicAddress], [40_004, '127.0.0.1']);
  t.deepEqual([options.internalGrpcPort, options.internalGrpcAddress], [40_003, '127.0.0.1']);
  t.deepEqual(options.profiling, { enabled: true, port: { port: 40_006, search: false } });
  t.deepEqual(options.ignored, [
    'placement-host-address',
    'sentry-address',
    'scheduler-host-address',
    'control-plane-trust-domain',
    'disable-builtin-k8s-secret-store',
    'actors-disseminate-timeout',
    'app-binding-options-timeout',
  ]);
  t.is(options.warnings.length, 1);
  t.regex(options.warnings[0] ?? '', /^enable-profiling has no effect/);
});

test('a port may be the first free one from somewhere up, or any', (t) => {
  t.deepEqual(run('--dapr-http-port 3501+').httpPort, { port: 3501, search: true });
  t.deepEqual(run('--dapr-grpc-port=0').grpcPort, { port: 0, search: false });
  for (const bad of ['x', '-1', '70000', '+', '3501++', '3.5']) {
    refuses(t, `--dapr-http-port=${bad}`, /^dapr-http-port wants a port from 0 to 65535, .*, not '/);
  }
});

test('old names still work', (t) => {
  t.is(run('--protocol grpc').appProtocol, 'grpc');
  t.is(run('--max-concurrency 4').appMaxConcurrency, 4);
  t.deepEqual(run('--components-path old').resourcesPaths, ['old']);
  t.deepEqual(run('-d old').resourcesPaths, ['old']);
  t.deepEqual(run('--components-path old --resources-path new').resourcesPaths, ['new']);
  t.is(run('--dapr-http-max-request-size 8').maxBodyBytes, 8 * 2 ** 20);
  t.is(run('--dapr-http-read-buffer-size 16').readBufferBytes, 16 * 2 ** 10);
  t.is(run('--dapr-http-max-request-size 8 --max-body-size 1Mi').maxBodyBytes, 2 ** 20);
  t.is(run('--internal-grpc-port 1').internalGrpcPort, 1);
  t.deepEqual(run('--placement-host x').ignored, ['placement-host-address']);
  t.is(run('--profiling-port 1').profiling.port.port, 1);
});

test('app-ssl encrypts the protocol and says that it is old', (t) => {
  t.is(run('--app-ssl').appProtocol, 'https');
  t.is(run('--app-ssl --app-protocol GRPC').appProtocol, 'grpcs');
  t.deepEqual(run('--app-ssl').warnings, ["The 'app-ssl' flag is deprecated; use 'app-protocol=https' instead"]);
});

test('sizes are quantities, and a body may be unlimited', (t) => {
  t.is(run('--max-body-size 10M').maxBodyBytes, 10e6);
  t.is(run('--max-body-size=-1').maxBodyBytes, Infinity);
  t.is(run('--read-buffer-size 512').readBufferBytes, 512);
  refuses(t, '--max-body-size big', "max-body-size wants a size such as 4Mi, not 'big'");
  refuses(t, '--read-buffer-size 0', "invalid value for 'read-buffer-size': it must be more than 0");
});

test('times come out as milliseconds', (t) => {
  t.is(run('--dapr-graceful-shutdown-seconds 7').gracefulShutdownMs, 7000);
  t.is(run('--dapr-graceful-shutdown-seconds 0').gracefulShutdownMs, Infinity);
  t.is(run('--dapr-graceful-shutdown-seconds=-3').gracefulShutdownMs, 5000);
  t.is(run('--dapr-block-shutdown-duration 3m').blockShutdownMs, 180_000);
  t.is(run('--hot-reload-reconcile-interval 250ms').hotReloadIntervalMs, 250);
  t.is(run('--hot-reload-reconcile-interval 0').hotReloadIntervalMs, 60_000);
  refuses(t, '--dapr-block-shutdown-duration 5', /^dapr-block-shutdown-duration wants a duration/);
});

test('health checks of the app have bounds', (t) => {
  t.deepEqual(
    run('--enable-app-health-check --app-health-check-path up --app-health-probe-interval 2 --app-health-threshold -4')
      .appHealth,
    { enabled: true, path: '/up', intervalMs: 2000, timeoutMs: 500, threshold: 3 },
  );
  refuses(
    t,
    '--app-health-probe-interval 1 --app-health-probe-timeout 1001',
    "value for 'health-probe-timeout' must be smaller than 'health-probe-interval'",
  );
});

test('init endpoints are named or refused', (t) => {
  t.deepEqual(run('--disable-init-endpoints config,subscribe').disableInitEndpoints, new Set(['config', 'subscribe']));
  refuses(t, '--disable-init-endpoints=health', "invalid value for 'disable-init-endpoints': health");
});

test('an app id is required, without dots and fit for a header', (t) => {
  const parse = (...argv: string[]) => parseDaprdFlags(argv, {});
  t.throws(() => parse(), { instanceOf: UsageError, message: 'parameter app-id cannot be empty' });
  t.throws(() => parse('--app-id='), { message: 'parameter app-id cannot be empty' });
  t.throws(() => parse('--app-id', 'a.b'), { message: 'parameter app-id cannot contain dots' });
  t.throws(() => parse('--app-id', 'a\r\nx: y'), { message: /visible ASCII/ });
});

test('a directory for sockets is refused where their names would be longer than the system takes', (t) => {
  const room = 107 - '/dapr-a-http.socket'.length;
  t.is(run(`--app-id a --unix-domain-socket ${'d'.repeat(room)}`).unixDomainSocket.length, room);
  t.throws(() => run(`--app-id a --unix-domain-socket ${'é'.repeat(room)}`), {
    instanceOf: UsageError,
    message: /dapr-a-http\.socket.* has 195 bytes, .* takes 107.*shorter/,
  });
  t.throws(() => run(`--app-id ${'a'.repeat(100)} --unix-domain-socket /tmp`), { message: /takes 107/ });
});

test('ports that collide with the port of the app are refused', (t) => {
  refuses(t, '--app-port 3500', "the 'dapr-http-port' argument value 3500 conflicts with 'app-port'");
  refuses(
    t,
    '--app-port 50001 --dapr-http-port 1',
    "the 'dapr-grpc-port' argument value 50001 conflicts with 'app-port'",
  );
  t.is(run('--app-port 3501 --dapr-http-port 3501+').appPort, 3501);
  t.is(run('--app-port -1').appPort, 0);
});

test('bad values are named, all in one message', (t) => {
  refuses(t, '--app-protocol smtp', "invalid value for 'app-protocol': smtp");
  refuses(t, '--app-protocol constructor', "invalid value for 'app-protocol': constructor");
  refuses(
    t,
    '--app-port abc --log-level loud --enable-metrics=perhaps',
    "app-port wants a port from 1 to 65535, not 'abc'; " +
      "log-level wants one of debug, info, warn, error, fatal, not 'loud'; " +
      "enable-metrics wants true or false, not 'perhaps'",
  );
});

test('an unknown flag is refused with the one that was probably meant', (t) => {
  refuses(t, '--app-prot 5', 'unknown flag: --app-prot. Did you mean --app-port?');
  refuses(t, '--resource-path=x', 'unknown flag: --resource-path. Did you mean --resources-path?');
  refuses(t, '--quite-something-else', 'unknown flag: --quite-something-else');
  refuses(t, '--constructor', 'unknown flag: --constructor');
  refuses(t, 'stray', "unexpected argument 'stray'");
  refuses(t, '--', "unexpected argument '--'");
});

test('a flag that lacks its value is named', (t) => {
  refuses(t, '--app-port', 'flag needs an argument: --app-port');
  refuses(t, '--app-port --app-protocol grpc', 'flag needs an argument: --app-port');
});

test('the other commands need no app id', (t) => {
  const kind = (...argv: string[]): string => parseDaprdFlags(argv, {}).kind;
  t.is(kind('--version'), 'version');
  t.is(kind('-v'), 'version');
  t.is(kind('--build-info'), 'build-info');
  t.is(kind('--help'), 'help');
  t.is(kind('-h', '--version'), 'help');
  const wait = parseDaprdFlags(['--wait', '--dapr-http-port', '3600'], {});
  t.is(wait.kind === 'wait' && wait.options.httpPort.port, 3600);
});

test('the environment stands in for some flags', (t) => {
  const named = parseDaprdFlags([], { APP_ID: 'env', APP_PORT: '3000', DAPR_PUBSUB_NOT_FOUND: 'drop' });
  t.like(named, { kind: 'run', options: { appId: 'env', appPort: 3000, appNotFound: 'drop' } });
  const both = run('--app-port 4000 --app-not-found retry', { APP_PORT: '3000', DAPR_PUBSUB_NOT_FOUND: 'drop' });
  t.like(both, { appPort: 4000, appNotFound: 'retry' });
  t.is(run('', { APP_PORT: 'tcp://10.0.0.1:80' }).appPort, 0);
  refuses(t, '', "app-not-found wants one of retry, drop, not 'keep'", { DAPR_PUBSUB_NOT_FOUND: 'keep' });
});

test('the environment is read into words', (t) => {
  const { environment } = run('', {
    NAMESPACE: 'prod',
    POD_NAME: 'pod-1',
    DAPR_HOST_IP: '10.0.0.7',
    DAPR_API_TOKEN: 'in',
    APP_API_TOKEN: 'out',
    DAPR_APP_API_TOKEN_HEADER: ' X-Token ',
    DAPR_ENV_KEYS: 'ONE two',
    DAPR_COMPONENTS_SOCKETS_FOLDER: '/run/sockets',
    DAPR_HTTP_DISABLE_H2C: 'Yes',
    DAPR_GRPC_MAX_CONN_IDLE: '1m30s',
    HOME: '/home/somebody',
    OTHER: 'thing',
  });
  const { variable, ...words } = environment;
  t.deepEqual(words, {
    namespace: 'prod',
    podName: 'pod-1',
    hostIp: '10.0.0.7',
    apiToken: 'in',
    appApiToken: 'out',
    appApiTokenHeader: 'x-token',
    home: path.resolve('/home/somebody/.dapr'),
    envKeys: ['ONE', 'TWO'],
    componentsSocketsFolder: '/run/sockets',
    disableH2c: true,
    grpcIdleMs: 90_000,
  });
  t.is(variable('OTHER'), 'thing');
  t.is(variable('constructor'), undefined);
  t.false(JSON.stringify(environment).includes('thing'));
});

test('the home directory is found without any variable', (t) => {
  t.is(run('').environment.home, path.join(homedir(), '.dapr'));
  t.is(run('', { HOME: '' }).environment.home, path.join(homedir(), '.dapr'));
  t.is(run('', { DAPR_RUNTIME_PATH: 'here', HOME: '/h' }).environment.home, path.resolve('here/.dapr'));
});

test('in Kubernetes metrics and public port are reached from outside, the API is not', (t) => {
  const options = run('--mode kubernetes');
  t.deepEqual([options.metrics.address, options.publicAddress], ['0.0.0.0', '0.0.0.0']);
  t.deepEqual(options.listenAddresses, ['127.0.0.1', '::1']);
  t.is(run('--mode kubernetes --metrics-listen-address 127.0.0.1').metrics.address, '127.0.0.1');
});

test('what is risky or has no effect is warned of', (t) => {
  t.deepEqual(run('--enable-mtls --dapr-graceful-shutdown-seconds 0').warnings, [
    'enable-mtls has no effect: sidecars do not call each other here',
    'Graceful shutdown timeout is infinite, will wait indefinitely to shutdown',
  ]);
  const [warning] = run('--dapr-listen-addresses 0.0.0.0,127.0.0.1').warnings;
  t.regex(warning ?? '', /^The API listens on 0\.0\.0\.0 and asks for no token/);
  t.deepEqual(run('--dapr-listen-addresses 0.0.0.0', { DAPR_API_TOKEN: 'x' }).warnings, []);
});

test('the help has a line for every flag', (t) => {
  const lines = usage().split('\n');
  for (const name of [...Object.keys(FLAGS), ...Object.keys(IGNORED_FLAGS)]) {
    t.is(lines.filter((line) => new RegExp(`^  --${name}( |$)`).test(line)).length, 1, name);
  }
  t.true(lines.some((line) => /^  --dapr-http-port port .*\(default 3500\)$/.test(line)));
});
