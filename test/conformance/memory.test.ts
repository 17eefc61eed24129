import { memoryBroker } from '../../src/brokers/memory/broker.ts';
import { contextOf } from './bench.ts';
import { conform } from './suite.ts';

const MiB = 2 ** 20;

conform({
  name: 'memory',
  abilities: {
    shared: false,
    durable: false,
    ordered: true,
    holdsOrder: false,
    parallel: true,
    wildcards: true,
    refusedBytes: 8 * MiB,
  },
  open: (_place, consumerId, concurrency) =>
    memoryBroker.open({ maxBytes: '4Mi', concurrency: String(concurrency) }, contextOf(consumerId, '/nowhere')),
});
