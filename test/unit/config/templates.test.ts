import test from 'ava';
import { fillTemplates } from '../../../src/config/templates.ts';

const CONTEXT = { appId: 'app1', namespace: 'prod', podName: 'pod-1' };
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

test('placeholders are replaced wherever they stand', (t) => {
  const { settings } = fillTemplates({ a: '{appID}', b: 'x-{podName}-{appID}-y', c: '{namespace}' }, CONTEXT);
  t.deepEqual(settings, { a: 'app1', b: 'x-pod-1-app1-y', c: 'prod.app1' });
});

test('every {uuid} is another one', (t) => {
  const [first = '', second = ''] = (fillTemplates({ id: '{uuid}/{uuid}' }, CONTEXT).settings['id'] ?? '').split('/');
  t.regex(first, UUID);
  t.regex(second, UUID);
  t.not(first, second);
});

test('names and other braces stay as they are', (t) => {
  const plain = { '{appID}': '{appid} {AppID} {} {{x}} ${appId} $&' };
  t.deepEqual(fillTemplates(plain, CONTEXT).settings, plain);
});

test('what a placeholder stands for is not read again', (t) => {
  const { settings } = fillTemplates({ a: '{podName}' }, { ...CONTEXT, podName: '{uuid}$&' });
  t.deepEqual(settings, { a: '{uuid}$&' });
});

test('a pod name that is not known is an error that names the setting', (t) => {
  t.throws(() => fillTemplates({ consumerID: 'x{podName}' }, { ...CONTEXT, podName: '' }), {
    message: 'failed to parse metadata: property consumerID refers to {podName} but podName is not set',
  });
});

test('topics have a prefix when some setting says {namespace}', (t) => {
  t.is(fillTemplates({ consumerID: 'x-{namespace}' }, CONTEXT).topicPrefix, 'prod');
  t.is(fillTemplates({ consumerID: '{appID}' }, CONTEXT).topicPrefix, '');
});

test('without a namespace it is the default one', (t) => {
  t.deepEqual(fillTemplates({ a: '{namespace}' }, { ...CONTEXT, namespace: '' }), {
    settings: { a: 'default.app1' },
    topicPrefix: 'default',
  });
});
