/** Subscriptions as apps and files write them: JSON or YAML mappings whose keys count in any case. */

import { Fields, wrongKind } from '../lib/fields.ts';
import type { Log } from '../lib/log.ts';
import { messageOf } from './errors.ts';
import type { BulkOptions, Rule, SubscriptionKind, SubscriptionSpec } from './subscription.ts';

/** What a bulk subscription waits for when it does not say (contract 7.2). */
const BULK_DEFAULTS: BulkOptions = { maxMessages: 100, maxAwaitMs: 1000 };

/**
 * The subscription one document asks for: an element of the app's answer, or `spec` of a Subscription resource of
 * either version. Without any route it has no rules. Throws an Error that says what is wrong with it.
 */
export function specFromDocument(item: unknown, kind: SubscriptionKind, name = ''): SubscriptionSpec {
  const fields = new Fields(item, 'subscription');
  const bulk = bulkOptions(fields.child('bulkSubscribe'));
  return {
    name,
    kind,
    pubsubName: fields.text('pubsubname'),
    topic: fields.text('topic'),
    rules: rulesOf(fields),
    metadata: fields.child('metadata').record(),
    deadLetterTopic: fields.text('deadLetterTopic'),
    ...(bulk && { bulk }),
  };
}

function rulesOf(fields: Fields): Rule[] {
  const routes = fields.child('routes');
  const rules = routes.children('rules').map((rule) => ({ match: rule.text('match').trim(), path: rule.text('path') }));
  const otherwise = routes.text('default') || fields.text('route');
  return otherwise === '' ? rules : [...rules, { match: '', path: otherwise }];
}

function bulkOptions(fields: Fields): BulkOptions | undefined {
  if (!fields.flag('enabled')) return undefined;
  return bulkOptionsOf(fields.integer('maxMessagesCount') ?? 0, fields.integer('maxAwaitDurationMs') ?? 0);
}

/** Of numbers that may not be given, or be nonsense: those get their defaults. */
export function bulkOptionsOf(maxMessages: number, maxAwaitMs: number): BulkOptions {
  return {
    maxMessages: maxMessages > 0 ? maxMessages : BULK_DEFAULTS.maxMessages,
    maxAwaitMs: maxAwaitMs > 0 ? maxAwaitMs : BULK_DEFAULTS.maxAwaitMs,
  };
}

/**
 * The subscriptions in the body of the app's `GET /dapr/subscribe` (contract 5.3, 5.4). An empty body is none; an
 * element without any route is left out with a warning. Throws when the body is no list of subscriptions: one bad
 * element spoils it, because the app cannot have meant it.
 */
export function specsFromAppAnswer(body: string, log: Log): SubscriptionSpec[] {
  if (body.trim() === '') return [];
  const items: unknown = JSON.parse(body);
  if (items === null) return [];
  if (!Array.isArray(items)) throw wrongKind('the answer', items, 'a list');
  return items.map(specOfItem).filter((spec) => {
    if (spec.rules.length === 0) log.warn(`topic ${spec.topic} has an empty routes. removing from subscriptions list`);
    return spec.rules.length > 0;
  });
}

function specOfItem(item: unknown, index: number): SubscriptionSpec {
  try {
    return specFromDocument(item, 'PROGRAMMATIC');
  } catch (error) {
    throw new Error(`item ${index + 1}: ${messageOf(error)}`, { cause: error });
  }
}
