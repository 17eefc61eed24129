/** What is relied on of the inside of kafkajs: a new version has to be looked at. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import {
  apiKeys,
  Connection,
  errorOfCode,
  protocolRequest,
  RequestQueue,
} from '../../../../src/brokers/kafka/kafkajs.ts';

test('it is the version whose inside is known', (t) => {
  const installed = fileURLToPath(import.meta.resolve('kafkajs/package.json'));
  t.is((JSON.parse(readFileSync(installed, 'utf8')) as { version: string }).version, '2.2.4');
  const ours = JSON.parse(readFileSync(new URL('../../../../package.json', import.meta.url), 'utf8')) as Record<string, Record<string, string>>; // prettier-ignore
  t.is(ours['dependencies']?.['kafkajs'], '2.2.4');
});

test('a connection on which nothing waits has no timer, one on which something waits has', (t) => {
  const { scheduleCheckPendingRequests } = RequestQueue.prototype;
  const queue = { pending: [] as unknown[], throttledUntil: -1, throttleCheckTimeoutId: null as unknown };
  scheduleCheckPendingRequests.call(queue);
  t.is(queue.throttleCheckTimeoutId, null);
  queue.pending.push({});
  scheduleCheckPendingRequests.call(queue);
  t.truthy(queue.throttleCheckTimeoutId);
  clearTimeout(queue.throttleCheckTimeoutId as NodeJS.Timeout);
});

test('requests, errors and connections are as they are used', (t) => {
  t.is(apiKeys['Produce'], 0);
  const versions = { 1: { minVersion: 4, maxVersion: 17 } };
  const { request } = protocolRequest(versions, 'Fetch', { maxWaitTime: 1, minBytes: 1, maxBytes: 1, topics: [] });
  t.like(request, { apiKey: 1, apiVersion: 11, apiName: 'Fetch' });
  t.like(errorOfCode(6), { type: 'NOT_LEADER_FOR_PARTITION', code: 6, retriable: true });
  for (const name of ['rejectRequests', 'authenticate', 'nextCorrelationId'] as const) {
    t.is(typeof Connection.prototype[name], 'function');
  }
  for (const name of ['push', 'maybeThrottle'] as const) t.is(typeof RequestQueue.prototype[name], 'function');
});
