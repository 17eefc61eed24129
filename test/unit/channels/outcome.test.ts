import test from 'ava';
import { answerOfHttp } from '../../../src/channels/outcome.ts';

const kindOf = (status: number, body = ''): string => answerOfHttp(status, Buffer.from(body)).kind;

test('any 2xx is success unless its body says otherwise', (t) => {
  for (const body of [
    '',
    'OK',
    '{"success": true}',
    '{"status":""}',
    '{"status":"SUCCESS"}',
    '{"status":5}',
    'null',
    '[1]',
    '"RETRY"',
    '{"status":',
  ]) {
    t.is(kindOf(200, body), 'success', body);
  }
  t.is(kindOf(204), 'success');
  t.is(kindOf(299), 'success');
});

test('the status of the body decides: its key in any case, its value exactly', (t) => {
  t.is(kindOf(200, '{"status":"DROP"}'), 'drop');
  t.is(kindOf(200, ' {"Status":"RETRY"}'), 'retry');
  t.is(kindOf(200, '{"status":"success"}'), 'retry');
  t.is(kindOf(200, '{"status":"whatever"}'), 'retry');
});

test('404 is nobody there, everything else is a failure with its code', (t) => {
  t.is(kindOf(404, '{"status":"SUCCESS"}'), 'not-found');
  for (const status of [100, 301, 303, 400, 401, 413, 422, 500, 503]) {
    t.like(answerOfHttp(status, Buffer.from('{"status":"SUCCESS"}')), { kind: 'retry', code: status });
  }
});

test('a status counts however much white space comes before it', (t) => {
  t.is(kindOf(200, `${' \n'.repeat(100)}{"status":"RETRY"}`), 'retry');
});
