/** What stands between a subscription and its recipient: series, policies, batches, spans, then the delivery itself. */

import type { DaprdOptions } from './config/flags.ts';
import { batched } from './core/batching.ts';
import { createDelivery } from './core/delivery.ts';
import { inTurn } from './core/in-turn.ts';
import { measured } from './core/measured.ts';
import type { Parked } from './core/parked.ts';
import type { Publisher } from './core/publisher.ts';
import type { Resiliency } from './core/resiliency.ts';
import { compileRules, tellOnce } from './core/routing.ts';
import type { CreateHandler } from './core/subscriptions.ts';
import { traced } from './core/traced.ts';
import type { Tracer } from './core/tracer.ts';
import type { Log } from './lib/log.ts';
import type { Metrics } from './observe/metrics.ts';

export interface DeliveriesContext {
  readonly options: DaprdOptions;
  readonly publisher: Publisher;
  readonly parked: Parked;
  readonly resiliency: Resiliency;
  readonly metrics: Metrics;
  /** Undefined where nothing is recorded. */
  readonly tracer: Tracer | undefined;
  readonly log: Log;
}

/** Makes the handlers of subscriptions. */
export function createHandlers(context: DeliveriesContext): CreateHandler {
  const { options, publisher, parked, resiliency, metrics, tracer, log } = context;
  return async (spec, pubsub, recipient, closing) => {
    const { policy, wrap } = resiliency.inbound(pubsub.name, spec.deadLetterTopic !== '');
    const guarded = measured(inTurn(wrap(recipient), recipient.turns, closing), metrics);
    const whole = spec.bulk ? batched(guarded, spec.bulk, pubsub.broker.features, closing) : guarded;
    return createDelivery({
      spec,
      pubsub,
      recipient: tracer ? traced(whole, tracer) : whole,
      publisher,
      appId: options.appId,
      router: await compileRules(spec.rules, tellOnce(log)),
      policy,
      notFound: options.appNotFound,
      closing,
      onProcessed: metrics.onProcessed,
      onParked: (parking) => parked.note(pubsub.name, spec.topic, parking),
      log,
    });
  };
}
