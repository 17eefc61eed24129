import test from 'ava';
import { BadEscape, metadataOf, routeOf, splitTarget } from '../../../src/http/path.ts';

const NONE = { kind: 'none' };
const publish = (pubsubName: string, topic: string): object => ({ kind: 'publish', pubsubName, topic });

test('a topic is everything after the component, decoded', (t) => {
  const cases: [string, object][] = [
    ['/v1.0/publish/ps/t', publish('ps', 't')],
    ['/v1.0/publish/ps/A/B/C', publish('ps', 'A/B/C')],
    ['/v1.0/publish/ps/A%2FB', publish('ps', 'A/B')],
    ['/v1.0/publish/ps/a+b%20c', publish('ps', 'a b c')],
    ['/v1.0/publish/ps/t/', publish('ps', 't')],
    ['//v1.0/publish//ps/t', publish('ps', 't')],
    ['/v1.0/publish/ps/../ps/./t', publish('ps', 't')],
    ['/v1.0/publish/ps/%C5%BC%F0%9F%98%80', publish('ps', 'ż😀')],
    ['/v1.0/publish/ps/t%00', publish('ps', 't\0')],
    ['/v1.0/publish/bulk/t', publish('bulk', 't')],
  ];
  for (const [path, route] of cases) t.deepEqual(routeOf('POST', path) as object, route, path);
  t.deepEqual(routeOf('PUT', '/v1.0/publish/ps/t') as object, publish('ps', 't'));
});

test('what is parked is read as a whole and delivered by topic', (t) => {
  t.deepEqual(routeOf('GET', '/v1.0/parked/') as object, { kind: 'parked' });
  const route = { kind: 'deliver-parked', pubsubName: 'p s', topic: 'a/b' };
  t.deepEqual(routeOf('POST', '/v1.0/parked/p%20s/a%2Fb') as object, route);
  for (const path of ['/v1.0/parked', '/v1.0/parked/ps']) t.deepEqual(routeOf('POST', path) as object, NONE);
  t.deepEqual(routeOf('GET', '/v1.0/parked/ps/t') as object, NONE);
});

test('bulk publishing has two URLs', (t) => {
  const route = { kind: 'bulk-publish', pubsubName: 'ps', topic: 't' };
  t.deepEqual(routeOf('POST', '/v1.0/publish/bulk/ps/t') as object, route);
  t.deepEqual(routeOf('POST', '/v1.0-alpha1/publish/bulk/ps/t') as object, route);
});

test('a call of an app has its id decoded and its path as it was, whatever the method', (t) => {
  const invoke = (id: string, method: string): object => ({ kind: 'invoke', id, method });
  const cases: [string, object][] = [
    ['/v1.0/invoke/app/method/x', invoke('app', 'x')],
    ['/v1.0/invoke/app/method/a%2Fb/method/c+d/', invoke('app', 'a%2Fb/method/c+d/')],
    ['//v1.0/invoke/a%20b/method//x', invoke('a b', 'x')],
    ['/v1.0/invoke/http%3A%2F%2Fhost/method/x', invoke('http://host', 'x')],
    ['/v1.0/invoke/app/method', NONE],
    ['/v1.0/invoke/app/method/', invoke('app', '/')],
    ['/v1.0/invoke/app', NONE],
    ['/v1.0/invoke//method/x', NONE],
  ];
  for (const method of ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS']) {
    for (const [path, route] of cases) t.deepEqual(routeOf(method, path) as object, route, `${method} ${path}`);
  }
});

test('what is not an endpoint is none, whatever is wrong with it', (t) => {
  for (const path of [
    '/v1.0/publish/ps',
    '/v1.0/publish/ps/',
    '/v1.0/publish//t',
    '/V1.0/publish/ps/t',
    '/v1.0/Publish/ps/t',
    '/',
  ]) {
    t.deepEqual(routeOf('POST', path) as object, NONE, path);
  }
  t.deepEqual(routeOf('GET', '/v1.0/publish/ps/t') as object, NONE);
  t.deepEqual(routeOf('GET', '/v1.0/shutdown') as object, NONE);
  t.deepEqual(routeOf('POST', '/v1.0/metadata/k') as object, NONE);
});

test('a bad escape is named', (t) => {
  const error = t.throws(() => routeOf('POST', '/v1.0/publish/ps/a%zz'), { instanceOf: BadEscape });
  t.is(error.message, 'failed to unescape request parameter "*". Error: invalid URL escape "%zz"');
});

test('a target may be a whole URL', (t) => {
  t.deepEqual(splitTarget('http://x:1/v1.0/healthz?appid=a'), { path: '/v1.0/healthz', query: 'appid=a' });
  t.deepEqual(splitTarget('/a?b=c?d'), { path: '/a', query: 'b=c?d' });
});

test('bytes beyond ASCII that were not escaped are UTF-8', (t) => {
  const { path, query } = splitTarget(Buffer.from('/v1.0/publish/ps/ż?metadata.a=ż').toString('latin1'));
  t.deepEqual(routeOf('POST', path) as object, publish('ps', 'ż'));
  t.deepEqual(metadataOf(query), { a: 'ż' });
});

test('metadata is what the query says with the prefix, the first value of each', (t) => {
  t.deepEqual(metadataOf('metadata.a=1&metadata.a=2&b=3&metadata.B=%C5%BC&Metadata.c=4&x=%zz'), { a: '1', B: 'ż' });
  t.deepEqual(metadataOf(''), {});
});
