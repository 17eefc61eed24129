import test from 'ava';
import { Failure } from '../../../src/cli/failure.ts';
import { FLAGS, namesOf } from '../../../src/cli/flags.ts';
import { parse } from '../../../src/cli/parse.ts';

const read = (line: string) => parse(line.split(' '));

function refusal(t: { fail(text: string): void }, words: readonly string[]): Failure {
  try {
    parse(words);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  t.fail(`${words.join(' ')} was accepted`);
  throw new Error('unreachable');
}

test('flags may stand before the command', (t) => {
  const { command, options, operands } = read('--app-id app1 --app-port 5000 run python app1.py');
  t.is(command, 'run');
  t.is(options.text('app-id'), 'app1');
  t.is(options.text('app-port'), '5000');
  t.deepEqual(operands, ['python', 'app1.py']);
});

test('a value that is also the name of a command is a value', (t) => {
  const { command, options, operands } = read('--app-id run run node x.js');
  t.is(command, 'run');
  t.is(options.text('app-id'), 'run');
  t.deepEqual(operands, ['node', 'x.js']);
});

test('a boolean before the command does not swallow it', (t) => {
  const { command, options } = read('--enable-api-logging run node x.js');
  t.is(command, 'run');
  t.true(options.on('enable-api-logging'));
});

test('an unknown flag before the command does not hide the command', (t) => {
  t.regex(refusal(t, ['--unknown', 'run', 'x']).message, /--unknown is not a flag of `dapr run`/);
});

test("an app's words stay as they are, dashes and all", (t) => {
  for (const line of ['run --app-id a -- node app.js --port 4000', 'run --app-id a node app.js --port 4000']) {
    t.deepEqual(read(line).operands, ['node', 'app.js', '--port', '4000'], line);
  }
  t.deepEqual(read('run -- node -- --help').operands, ['node', '--', '--help']);
});

test('a word that went to the app but is also a flag of ours is hinted at', (t) => {
  const { hints } = read('run python app.py --app-port 5000 --unknown-to-us');
  t.is(hints.length, 1);
  t.regex(hints[0] as string, /`--app-port 5000` stands after the command and goes to python/);
  t.deepEqual(read('run -- python app.py --app-port 5000').hints, []);
});

test('old spellings mean the present flags and are remarked on', (t) => {
  const { options, remarks } = read(
    'run -i a --port 3500 --grpc-port 50001 -d ./x --protocol grpc --max-concurrency 3',
  );
  t.is(options.text('app-id'), 'a');
  t.is(options.text('dapr-http-port'), '3500');
  t.is(options.text('dapr-grpc-port'), '50001');
  t.deepEqual(options.list('resources-path'), ['./x']);
  t.is(options.text('app-protocol'), 'grpc');
  t.is(options.text('app-max-concurrency'), '3');
  t.true(remarks.includes('--port is the old name of --dapr-http-port'));
});

test('flags that concern nothing here are taken without effect', (t) => {
  const { remarks } = read('run --placement-host-address localhost:50005 --placement-host x node x.js');
  t.is(remarks.length, 2);
  t.regex(remarks[0] as string, /no effect/);
});

test('a value may stand in the same word', (t) => {
  for (const line of ['run --app-id=a', 'run -a=a', 'run -aa', 'run -app-id a', 'run -app-id=a', 'run -a a']) {
    t.is(read(line).options.text('app-id'), 'a', line);
  }
  t.is(parse(['publish', '--data=a=b=c']).options.text('data'), 'a=b=c');
  t.is(parse(['publish', '-d', '-']).options.text('data'), '-');
  t.is(read('run --app-max-concurrency -1').options.text('app-max-concurrency'), '-1');
});

test('a boolean can be negated and given a value', (t) => {
  t.false(read('run --no-prefix').options.on('prefix'));
  t.false(read('publish --no-direct').options.on('direct'));
  t.false(read('run --enable-metrics=false').options.on('enable-metrics'));
  t.false(read('run --no-enable-metrics').options.on('enable-metrics'));
  t.is(read('run').options.on('enable-metrics'), undefined);
});

test('the same letter means what its command means by it', (t) => {
  t.is(read('publish -d x').options.text('data'), 'x');
  t.is(read('run -d x').options.text('resources-path'), 'x');
  t.is(read('-d x run').options.text('resources-path'), 'x');
  t.is(read('publish -i a -p b -t c').options.text('publish-app-id'), 'a');
  t.is(read('run -p 3000').options.text('app-port'), '3000');
});

test('whoever mistypes is told the nearest name, with exit code 2', (t) => {
  const cases: [string, RegExp][] = [
    ['run --app-prot 5000', /--app-port/],
    ['pubish -t x', /`dapr publish`/],
    ['run --app-port', /^$/],
    ['list --app-port 5', /`dapr run`/],
  ];
  for (const [line, next] of cases) {
    const failure = refusal(t, line.split(' '));
    t.is(failure.exit, 2, line);
    t.regex(failure.next.join(' '), next, line);
  }
});

test('a value that cannot be meant is refused with what was wanted', (t) => {
  t.regex(refusal(t, ['run', '--app-port', 'http']).message, /--app-port wants a port/);
  t.regex(refusal(t, ['run', '--dapr-http-port', '70000']).message, /--dapr-http-port wants a port/);
  t.regex(refusal(t, ['list', '-o', 'xml']).message, /one of table, json, yaml/);
  t.regex(refusal(t, ['publish', '--batch', '0']).message, /from 1 up/);
});

test('what is not built is refused with a sentence', (t) => {
  for (const flag of ['-f', '--run-file', '-k', '--watch', '--restart', '--detach']) {
    const failure = refusal(t, ['run', flag, 'x']);
    t.is(failure.exit, 2, flag);
    t.regex(failure.message, /not built/, flag);
  }
  t.regex(refusal(t, ['invoke']).next.join(), /not part of a pub\/sub sidecar/);
});

test('flags alone have no command, and nothing at all has none either', (t) => {
  t.is(parse([]).command, undefined);
  t.true(read('--version').options.on('version'));
  t.true(read('-h').options.on('help'));
});

test('a name takes a value for every command that has it, or for none', (t) => {
  const kinds = new Map<string, boolean>();
  for (const flag of FLAGS) {
    for (const name of namesOf(flag)) {
      const takesValue = flag.kind !== 'boolean';
      t.is(kinds.get(name) ?? takesValue, takesValue, name);
      kinds.set(name, takesValue);
    }
  }
});

test('no command has two flags of one name', (t) => {
  for (const command of new Set(FLAGS.flatMap((flag) => flag.commands ?? []))) {
    const names = FLAGS.filter((flag) => flag.commands?.includes(command) ?? true).flatMap(({ name, short }) => [
      name,
      ...(short ? [short] : []),
    ]);
    t.is(new Set(names).size, names.length, command);
  }
});
