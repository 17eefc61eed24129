/** What is measured. Each scenario starts the sidecar itself and returns figures; `main.ts` closes the stage. */

import { setTimeout as wait } from 'node:timers/promises';
import { countFsyncs } from './fsync.ts';
import type { AppKind, Stage } from './stage.ts';
import { fineCpuMs } from './usage.ts';

export type Figure =
  | 'perSecond'
  /** Of the sidecar's process group, and of the broker's process where we started one. Microseconds a message. */
  | 'cpuUs'
  | 'brokerCpuUs'
  | 'p50Ms'
  | 'p99Ms'
  | 'peakMb'
  /** Process start to readiness. */
  | 'startMs'
  | 'startCpuMs'
  | 'idleMb'
  | 'idleCpuMsPerS'
  | 'fsyncsPerMessage'
  /** Messages that the app was handed more than once. */
  | 'duplicates';

export type Figures = Readonly<Partial<Record<Figure, number>>>;

export interface Scenario {
  readonly about: string;
  /** Does not make sense with a broker that keeps nothing. */
  readonly needsDurable?: true;
  run(stage: Stage): Promise<Figures>;
}

type Protocol = 'http' | 'grpc';

const DRAIN_TIMEOUT_MS = 120_000;

/** What `work` cost for each of `messages`. */
async function costOf(stage: Stage, messages: number, work: () => Promise<unknown>): Promise<Figures> {
  const before = stage.usage();
  const began = performance.now();
  await work();
  const seconds = (performance.now() - began) / 1000;
  const after = stage.usage();
  return {
    perSecond: messages / seconds,
    cpuUs: ((after.cpuMs - before.cpuMs) * 1000) / messages,
    brokerCpuUs: ((after.brokerCpuMs - before.brokerCpuMs) * 1000) / messages,
    peakMb: after.peakMb,
  };
}

/** Cold start, then an idle sidecar. */
async function start(stage: Stage): Promise<Figures> {
  const startMs = await stage.startSidecar();
  const startCpuMs = fineCpuMs(stage.group);
  await wait(stage.options.watchSeconds * 600);
  const before = fineCpuMs(stage.group);
  await wait(stage.options.watchSeconds * 1000);
  const idleCpuMsPerS = (fineCpuMs(stage.group) - before) / stage.options.watchSeconds;
  const { residentMb, peakMb } = stage.usage();
  return { startMs, startCpuMs, idleMb: residentMb, idleCpuMsPerS, peakMb };
}

const publish =
  (protocol: Protocol, batch = 1) =>
  async (stage: Stage): Promise<Figures> => {
    const { messages } = stage.options;
    await stage.startSidecar();
    await stage.publish(protocol, 0, { messages: Math.ceil(messages / 5), batch });
    let latency: Figures = {};
    const cost = await costOf(stage, messages, async () => {
      const { p50Ms, p99Ms } = await stage.publish(protocol, 1, { batch });
      latency = { p50Ms, p99Ms };
    });
    return { ...cost, ...latency };
  };

/** One request at a time: what a publisher waits for. */
async function publishAlone(stage: Stage): Promise<Figures> {
  await stage.startSidecar();
  await stage.publish('http', 0, { messages: 200, inFlight: 1 });
  const { p50Ms, p99Ms } = await stage.publish('http', 1, { messages: 500, inFlight: 1 });
  return { p50Ms, p99Ms };
}

/** The subscription may open after the sidecar is ready: publishes until a message arrives. */
async function opened(stage: Stage, protocol: Protocol): Promise<void> {
  for (let tries = 1; ; tries++) {
    await stage.publish(protocol, 0, { messages: 1 });
    try {
      await stage.arrived(0, 1, 500);
      return;
    } catch (error) {
      if (tries === 40) throw error;
    }
  }
}

/** Publishes and delivers through one sidecar. `perSecond` 0: as fast as it goes. Latency is from publisher to app. */
const publishAndDeliver =
  (protocol: Protocol, perSecond = 0) =>
  async (stage: Stage): Promise<Figures> => {
    const messages = perSecond > 0 ? perSecond * stage.options.watchSeconds : stage.options.messages;
    const warmUp = Math.ceil(messages / 5);
    await stage.startWithApp(protocol);
    await opened(stage, protocol);
    await stage.publish(protocol, 1, { messages: warmUp });
    await stage.arrived(1, warmUp);
    let latency: Figures = {};
    const cost = await costOf(stage, messages, async () => {
      await stage.publish(protocol, 2, { messages, perSecond });
      const { p50Ms, p99Ms, duplicates } = await stage.arrived(2, messages);
      latency = { p50Ms, p99Ms, duplicates };
    });
    return { ...cost, ...latency };
  };

/** Everything is published before the app is there. The first tenth of the deliveries warms up. */
const deliver =
  (app: AppKind) =>
  async (stage: Stage): Promise<Figures> => {
    const { messages } = stage.options;
    await stage.startSidecar();
    await stage.publish('grpc', 1, { batch: 100 });
    await stage.stopSidecar();
    await stage.startWithApp(app);
    const { count } = await stage.arrived(1, Math.ceil(messages / 10), DRAIN_TIMEOUT_MS);
    let duplicates = 0;
    const cost = await costOf(stage, messages - count, async () => {
      ({ duplicates } = await stage.arrived(1, messages, DRAIN_TIMEOUT_MS));
    });
    return { ...cost, duplicates };
  };

/** Under strace, which slows everything down: nothing else is measured in this run. */
async function fsyncs(stage: Stage): Promise<Figures> {
  const { messages } = stage.options;
  await stage.startSidecar();
  const count = await countFsyncs(stage.group, () => stage.publish('http', 1));
  return { fsyncsPerMessage: count / messages };
}

export const SCENARIOS: Readonly<Record<string, Scenario>> = {
  start: { about: 'cold start to readiness, memory and CPU of an idle sidecar', run: start },
  'http-publish': { about: 'publish over HTTP', run: publish('http') },
  'grpc-publish': { about: 'publish over gRPC', run: publish('grpc') },
  'http-bulk': { about: 'bulk publish over HTTP, 100 messages a request', run: publish('http', 100) },
  'grpc-bulk': { about: 'bulk publish over gRPC, 100 messages a request', run: publish('grpc', 100) },
  'http-alone': { about: 'publish over HTTP, one at a time: its latency', run: publishAlone },
  'http-deliver': { about: 'a backlog to an HTTP app after a restart', needsDurable: true, run: deliver('http') },
  'grpc-deliver': { about: 'a backlog to a gRPC app after a restart', needsDurable: true, run: deliver('grpc') },
  'stream-deliver': { about: 'a backlog to a streaming subscription', needsDurable: true, run: deliver('stream') },
  'http-e2e': { about: 'publish and deliver over HTTP', run: publishAndDeliver('http') },
  'grpc-e2e': { about: 'publish and deliver over gRPC', run: publishAndDeliver('grpc') },
  'http-latency': { about: 'the same at 1000 messages a second', run: publishAndDeliver('http', 1000) },
  'grpc-latency': { about: 'the same over gRPC', run: publishAndDeliver('grpc', 1000) },
  fsyncs: { about: 'fsync calls a message, publishing over HTTP (needs strace)', needsDurable: true, run: fsyncs },
};
