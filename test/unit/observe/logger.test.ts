import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createLogger, type LoggerOptions } from '../../../src/observe/logger.ts';
import { until } from '../../_support/until.ts';

function logger(t: ExecutionContext, options: Partial<LoggerOptions> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'logger-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'log');
  const log = createLogger({ level: 'info', json: false, appId: 'app', version: '1.2.3', ...options, file });
  const lines = async (count: number): Promise<string[]> => {
    const read = (): string[] => readFileSync(file, 'utf8').split('\n').filter(Boolean);
    await until(() => read().length >= count, `${count} lines are written`);
    return read();
  };
  return { log, lines };
}

test('a line has the fields that others look for, in the format of Dapr', async (t) => {
  const { log, lines } = logger(t);
  log.scoped('dapr.api').info('say "hi"\nthere', { code: 204 });
  const [line] = await lines(1);
  t.regex(
    String(line),
    /^time="\d{4}-\d\d-\d\dT[\d:.]+Z" level=info msg="say \\"hi\\"\\nthere" code=204 app_id=app instance=\S+ scope=dapr\.api type=log ver=1\.2\.3$/,
  );
});

test('JSON lines have the same fields', async (t) => {
  const { log, lines } = logger(t, { json: true });
  log.warn('careful', { n: 1 });
  const [line] = await lines(1);
  t.like(JSON.parse(String(line)), { level: 'warning', msg: 'careful', n: 1, app_id: 'app', type: 'log' });
});

test('each line of a scope has the fields of the scope', async (t) => {
  const { log, lines } = logger(t);
  log.scoped('dapr.contrib', { component: 'pubsub (pubsub.redis/v1)' }).warn('away', { n: 1 });
  t.regex(
    String((await lines(1))[0]),
    /msg="away" component="pubsub \(pubsub\.redis\/v1\)" n=1 app_id=app .* scope=dapr\.contrib /,
  );
});

test('what is below the level is not written', async (t) => {
  const { log, lines } = logger(t, { level: 'error' });
  log.debug('a');
  log.info('b');
  log.warn('c');
  log.error('d');
  t.is((await lines(1)).length, 1);
});

test('a flood of one kind is summed up, whatever ids it names, and other kinds are written', async (t) => {
  const { log, lines } = logger(t);
  for (let i = 0; i < 5000; i++) log.warn(`dropping expired pub/sub event ${randomUUID()} as of now`);
  log.warn('something else');
  const written = await lines(12);
  t.is(written.filter((line) => line.includes('msg="dropping expired')).length, 10);
  t.true(written[10]?.includes('something else'));
  t.true(written[11]?.includes('level=warning msg="4990 more like this: dropping expired pub/sub event'), written[11]);
  log.warn('dropping expired pub/sub event 1');
  t.true((await lines(13))[12]?.includes('event 1"'), 'later ones are written again');
});
