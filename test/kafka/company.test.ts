/** In one group with members of another make: on Sarama, as Dapr's Kafka component is. */

import { setTimeout as wait } from 'node:timers/promises';
import plain, { type ExecutionContext } from 'ava';
import { saramaProgram } from '../../scripts/needs.ts';
import { ofHandler, startProgram, testWith, type Program } from '../compat/_program.ts';
import { Recorder, retry, subscribe, SUCCESS, text, textOf } from '../conformance/bench.ts';
import { KafkaServer } from '../_support/kafka.ts';
import { until } from '../_support/until.ts';
import { audit } from './_audit.ts';
import { openSite } from './_site.ts';

const test = testWith('sarama');
const ends: (() => Promise<void>)[] = [];
let server: KafkaServer;
plain.before(async () => {
  server = await KafkaServer.start((end) => ends.push(end));
});
plain.after.always(() => Promise.all(ends.map((end) => end())));

/** A group of both makes. */
class Company {
  readonly tried: string[] = [];
  readonly acknowledged: string[] = [];
  private readonly t: ExecutionContext;
  private readonly name: string;
  private readonly strategy: string;
  /** What ours handled, and when, in milliseconds since 1970. */
  private readonly ours: { readonly content: string; readonly at: number }[] = [];
  private readonly programs: Program[] = [];

  constructor(t: ExecutionContext, strategy: string) {
    this.t = t;
    this.strategy = strategy;
    this.name = `company-${strategy}`;
  }

  /** Publishes without a pause until what is returned is called, which resolves when all is acknowledged. */
  async publish(): Promise<() => Promise<void>> {
    await server.createTopic(this.name, 5);
    const { broker } = await openSite(this.t, { brokers: server.address }, 'publisher');
    let isGoingOn = true;
    this.t.teardown(() => (isGoingOn = false));
    const publishing = (async () => {
      for (let next = 0; isGoingOn; next++) {
        const partitionKey = `key-${next % 30}`;
        const content = `${partitionKey} ${next}`;
        this.tried.push(content);
        void broker.publish(this.name, [{ ...text(content), metadata: { partitionKey } }]).then(
          (failures) => failures.length === 0 && this.acknowledged.push(content),
          () => undefined, // the test has failed
        );
        await wait(2);
      }
    })();
    return async () => {
      isGoingOn = false;
      await publishing;
      await until(() => this.acknowledged.length === this.tried.length, 'all is acknowledged');
    };
  }

  /** One of ours joins; leaves when what is returned is called. */
  async join(): Promise<() => Promise<void>> {
    const settings = { brokers: server.address, consumerGroupRebalanceStrategy: this.strategy };
    const { broker } = await openSite(this.t, settings, this.name);
    const recorder = new Recorder((message) => {
      if (Math.random() < 0.02) return retry(50);
      this.ours.push({ content: textOf(message), at: performance.timeOrigin + performance.now() });
      return SUCCESS;
    });
    await subscribe(broker, this.name, recorder);
    return () => broker.close();
  }

  /** One of theirs joins. */
  start(): Program {
    const program = startProgram(this.t, [saramaProgram, server.address, this.name, this.name, this.strategy], {});
    this.programs.push(program);
    return program;
  }

  /** Until each has handled some more. */
  async goesOn(...members: readonly ('ours' | Program)[]): Promise<void> {
    const count = (member: 'ours' | Program): number =>
      member === 'ours' ? this.ours.length : ofHandler(member, 'message').length;
    const before = members.map(count);
    await until(() => members.every((one, index) => count(one) > (before[index] ?? 0) + 20), 'each handles some');
  }

  /** In the order of time, all members together. */
  get handled(): string[] {
    const theirs = this.programs.flatMap((program) => ofHandler(program, 'message'));
    return [...this.ours, ...theirs.map(({ content, at }) => ({ content: String(content), at: Number(at) }))]
      .toSorted((a, b) => a.at - b.at)
      .map(({ content }) => content);
  }

  get failures(): unknown[] {
    return this.programs.flatMap((program) => ofHandler(program, 'failure'));
  }
}

for (const strategy of ['range', 'sticky', 'roundrobin']) {
  test.serial(`in a group with Sarama that shares out by ${strategy} nothing is lost and keys keep their order, whoever leads`, async (t) => {
    const company = new Company(t, strategy);
    const stop = await company.publish();
    // Who was there first leads.
    const leave = await company.join();
    const [one, two] = [company.start(), company.start()];
    await company.goesOn('ours', one, two);
    await leave();
    await company.goesOn(one, two);
    const leaveAgain = await company.join();
    await company.goesOn('ours', one, two);
    one.child.kill('SIGKILL');
    await company.goesOn('ours', two);
    two.child.stdin?.end();
    t.is(await two.exited, 0, two.noise());
    await stop();
    await until(() => new Set(company.handled).size === company.tried.length, 'all is handled');
    await leaveAgain();
    t.deepEqual(company.failures, []);
    audit(t, company);
  }); // prettier-ignore
}

plain.serial('a member that shares out in another way is told so', async (t) => {
  await server.createTopic('strategies', 4);
  const first = await openSite(t, { brokers: server.address }, 'strategists');
  await subscribe(first.broker, 'strategies', new Recorder());
  const consumerGroupRebalanceStrategy = 'roundrobin';
  const second = await openSite(t, { brokers: server.address, consumerGroupRebalanceStrategy }, 'strategists');
  await t.throwsAsync(subscribe(second.broker, 'strategies', new Recorder()), {
    message: 'group strategists shares out partitions in another way than roundrobin',
  });
});
