import test from 'ava';
import { topicScopes } from '../../../src/core/scopes.ts';

const TOPICS = ['a', 'b', 'c'];

/** The topics of a, b and c that the app may publish, and those it may subscribe. */
function allowed(settings: Record<string, string>, appId = 'app1'): [string, string] {
  const scopes = topicScopes(settings, appId);
  return [
    TOPICS.filter((topic) => scopes.mayPublish(topic)).join(''),
    TOPICS.filter((topic) => scopes.maySubscribe(topic)).join(''),
  ];
}

test('without any scope every topic is allowed', (t) => {
  t.deepEqual(allowed({}), ['abc', 'abc']);
  t.deepEqual(allowed({ publishingScopes: '', allowedTopics: '', protectedTopics: '' }), ['abc', 'abc']);
});

test('a scope names the topics of an app and leaves other apps alone', (t) => {
  const settings = { publishingScopes: 'app1=a,b;app2=c', subscriptionScopes: 'app2=' };
  t.deepEqual(allowed(settings), ['ab', 'abc']);
  t.deepEqual(allowed(settings, 'app2'), ['c', '']);
  t.deepEqual(allowed(settings, 'app3'), ['abc', 'abc']);
});

test('several entries for an app are united', (t) => {
  t.deepEqual(allowed({ publishingScopes: 'app1=a;app2=b;app1=c,c' }), ['ac', 'abc']);
});

test('an entry without = counts for nothing, text after a second = neither', (t) => {
  t.deepEqual(allowed({ publishingScopes: 'app1' }), ['abc', 'abc']);
  t.deepEqual(allowed({ publishingScopes: 'app1=a=b,c' }), ['a', 'abc']);
});

test('allowedTopics limits what scopes allow', (t) => {
  t.deepEqual(allowed({ allowedTopics: 'a,b' }), ['ab', 'ab']);
  t.deepEqual(allowed({ allowedTopics: 'a,b', publishingScopes: 'app1=b,c' }), ['b', 'ab']);
});

test('a protected topic wants to be named', (t) => {
  t.deepEqual(allowed({ protectedTopics: 'a' }), ['bc', 'bc']);
  t.deepEqual(allowed({ protectedTopics: 'a', publishingScopes: 'app1=a' }), ['a', 'bc']);
  t.deepEqual(allowed({ protectedTopics: 'a', publishingScopes: 'app2=a' }), ['bc', 'bc']);
});

test('names count in any case and blanks do not count', (t) => {
  t.deepEqual(allowed({ PUBLISHINGSCOPES: ' app1 = a , b ; app2 = c ', allowedtopics: 'a, b' }), ['ab', 'ab']);
});

test('app ids and topics are compared exactly', (t) => {
  t.deepEqual(allowed({ publishingScopes: 'App1=a', subscriptionScopes: 'app1=A,a*' }), ['abc', '']);
});
