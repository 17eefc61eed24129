/**
 * The policies of Resiliency resources, applied to deliveries and publishes (contract 10). Which policies count is
 * asked at every operation, so that they can change while subscriptions run.
 *
 * Where we differ from Dapr, so that nothing acknowledged is lost:
 * - The retries of a delivery are the broker's redeliveries, not a loop around a message in hand.
 * - An open circuit breaker postpones a delivery and does not count against it. In Dapr it ends the retries.
 * - A circuit breaker belongs to one direction of a component. In Dapr both directions share one, so that an app that
 *   fails its events could not publish any more and no dead letter could be written.
 */

import type { Log } from '../lib/log.ts';
import type { OutboundMessage, PublishFailure } from './broker.ts';
import { Guard, type Direction, type Fault, type Guarded, type OnPolicy, type Policy } from './guard.ts';
import { publishGuarded, type Publish, type PublishOptions } from './guarded-publish.ts';
import type { Answer, Recipient } from './recipient.ts';
import { defaultPolicy, INIT_RETRY, retryPolicy, type Retry, type RetryPolicy } from './retry-policy.ts';

export interface ResiliencyPolicies {
  /** What guards this direction of the component; empty where nothing does. */
  of(component: string, direction: Direction): Policy;
  /** Names of the resources that were read to their end. */
  readonly loaded: readonly string[];
  /** For asking the app at start. */
  readonly initRetry: Retry;
}

export interface ResiliencyOptions {
  readonly onPolicy: OnPolicy;
  readonly log: Log;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
  /** What spreads waits, from 0 to 1. */
  readonly random?: () => number;
}

/** How the deliveries of one subscription are guarded. */
export interface Inbound {
  readonly policy: RetryPolicy;
  /** The recipient under timeout and circuit breaker. A bulk delivery is one call to both. */
  wrap(recipient: Recipient): Recipient;
}

export const NO_POLICIES: ResiliencyPolicies = { of: () => ({}), loaded: [], initRetry: INIT_RETRY };

export class Resiliency {
  private policies = NO_POLICIES;
  private readonly guards = { inbound: new Map<string, Guard>(), outbound: new Map<string, Guard>() };
  private readonly options: ResiliencyOptions;

  constructor(options: ResiliencyOptions) {
    this.options = options;
  }

  /** These count from the next operation on. Circuit breakers begin closed. */
  use(policies: ResiliencyPolicies): void {
    this.policies = policies;
    this.guards.inbound.clear();
    this.guards.outbound.clear();
  }

  /** How the app is asked at start. */
  get initRetry(): Retry {
    return this.policies.initRetry;
  }

  inbound(component: string, hasDeadLetterTopic: boolean): Inbound {
    const unguarded = defaultPolicy(hasDeadLetterTopic);
    const guarded = <T>(call: Guarded<T>, signal: AbortSignal): Promise<T> => {
      const guard = this.guard('inbound', component);
      guard.applied();
      return guard.attempt(call, signal);
    };
    return {
      policy: (attempt, code) => {
        const guard = this.guard('inbound', component);
        if (!guard.retry) return unguarded(attempt, code);
        const decision = retryPolicy(guard.retry, hasDeadLetterTopic, this.options.random)(attempt, code);
        if (decision.kind === 'retry') guard.retrying(attempt, decision.afterMs);
        return decision;
      },
      wrap: (recipient) => ({
        deliver: (event, signal) =>
          this.guard('inbound', component).hasPolicy
            ? guarded({ call: (until) => recipient.deliver(event, until), judge: judgeOne, fail: answerOf }, signal)
            : recipient.deliver(event, signal),
        deliverBulk: (events, signal) =>
          guarded<readonly Answer[]>(
            {
              call: (until) => recipient.deliverBulk(events, until),
              judge: (answers) => (answers.every((one) => judgeOne(one) === 'success') ? 'success' : 'failure'),
              fail: (fault) => events.map(() => answerOf(fault)),
            },
            signal,
          ),
      }),
    };
  }

  /** Publishes under the component's outbound policy and returns what failed in the end. Never rejects. */
  async publish(
    component: string,
    messages: readonly OutboundMessage[],
    publish: Publish,
    options: Omit<PublishOptions, 'random'>,
  ): Promise<readonly PublishFailure[]> {
    const guard = this.guard('outbound', component);
    if (!guard.hasPolicy) return publish(messages);
    return publishGuarded(guard, messages, publish, { ...options, random: this.options.random });
  }

  private guard(direction: Direction, component: string): Guard {
    const guards = this.guards[direction];
    let guard = guards.get(component);
    if (!guard) {
      const { onPolicy, log, now = () => performance.now() } = this.options;
      guard = new Guard(this.policies.of(component, direction), { component, direction, onPolicy, log, now });
      guards.set(component, guard);
    }
    return guard;
  }
}

/** As in Dapr an app that drops an event or does not know it has answered: it is up, and that is what a breaker is about. */
const judgeOne = (answer: Answer): 'success' | 'failure' => (answer.kind === 'retry' ? 'failure' : 'success');

const answerOf = (fault: Fault): Answer => ({ kind: 'retry', ...fault });
