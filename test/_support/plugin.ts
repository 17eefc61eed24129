/**
 * A pluggable broker as somebody would write it with the general libraries: a gRPC server on a Unix socket, with topics,
 * groups by `consumerID`, acknowledgements and, with a journal, a memory over restarts. It knows nothing of the sidecar
 * but the proto.
 */

import { appendFileSync, existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  status,
  type ServerDuplexStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';

const PROTOS = loadSync('dapr/proto/components/v1/pubsub.proto', {
  includeDirs: [join(import.meta.dirname, '../../proto')],
  keepCase: false,
  defaults: true,
});
const { service } = (
  loadPackageDefinition(PROTOS) as unknown as {
    dapr: { proto: { components: { v1: { PubSub: { service: ServiceDefinition } } } } };
  }
).dapr.proto.components.v1.PubSub;

export interface PluginMessage {
  readonly id: string;
  readonly topicName: string;
  readonly data: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
  readonly contentType: string;
}

export interface PluginOptions {
  readonly socket: string;
  /** Where to remember what was published and acknowledged. */
  readonly journal?: string;
  readonly features?: readonly string[];
  /** Methods that are not there. */
  readonly lacks?: readonly string[];
  readonly noReflection?: boolean;
  /** Whether the content type of a publish comes back with the message. */
  readonly tellsContentType?: boolean;
  /** Unacknowledged messages a stream may have. */
  readonly window?: number;
  /** A gRPC code to refuse a publish with, 0 for none. */
  readonly refuse?: (topic: string, data: Buffer) => number;
  readonly onEvent?: (event: PluginEvent) => void;
}

/** What happened, in order. `instance` is the name of the component that asked. */
export type PluginEvent =
  | { kind: 'init'; instance: string; properties: Record<string, string> }
  | { kind: 'publish' | 'bulk'; instance: string; topic: string; entries: number }
  | { kind: 'pull'; instance: string; topic: string; metadata: Record<string, string> }
  | { kind: 'sent'; id: string }
  | { kind: 'ack'; id: string; error: string | undefined }
  | { kind: 'pause' | 'resume' | 'end'; instance: string };

type Pull = ServerDuplexStream<PullRequest, PluginMessage>;
interface PullRequest {
  readonly topic: { readonly name: string; readonly metadata: Record<string, string> } | null;
  readonly ackMessageId: string;
  readonly ackError: { readonly message: string } | null;
}
interface Member {
  readonly call: Pull;
  readonly instance: string;
  readonly unacked: Map<string, PluginMessage>;
}

/** What one group of a topic has not settled. */
interface Group {
  readonly members: Member[];
  readonly queue: PluginMessage[];
}

export class Plugin {
  readonly events: PluginEvent[] = [];
  private readonly options: PluginOptions;
  private readonly server = new Server();
  private readonly log = new Map<string, PluginMessage[]>();
  private readonly groups = new Map<string, Group>();
  private readonly settled = new Set<string>();
  private readonly consumers = new Map<string, string>();
  private readonly paused = new Set<string>();
  private lastId = 0;

  private constructor(options: PluginOptions) {
    this.options = options;
  }

  static async start(options: PluginOptions): Promise<Plugin> {
    const plugin = new Plugin(options);
    plugin.replay();
    rmSync(options.socket, { force: true });
    const lacks = (name: string): boolean => options.lacks?.includes(name) ?? false;
    const all = plugin.methods();
    plugin.server.addService(service, Object.fromEntries(Object.entries(all).filter(([name]) => !lacks(name))));
    if (!options.noReflection) new ReflectionService(PROTOS).addToServer(plugin.server);
    await new Promise<void>((resolve, reject) => {
      plugin.server.bindAsync(`unix:${options.socket}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      );
    });
    return plugin;
  }

  of<K extends PluginEvent['kind']>(kind: K): Extract<PluginEvent, { kind: K }>[] {
    return this.events.filter((event): event is Extract<PluginEvent, { kind: K }> => event.kind === kind);
  }

  /** Sends a message to one stream of the topic, as it is; nobody keeps it. */
  push(topic: string, message: Partial<PluginMessage>): void {
    const [member] = [...this.groups].flatMap(([key, { members }]) => (key.startsWith(`${topic} `) ? members : []));
    if (!member) throw new Error(`nobody pulls ${topic}`);
    const empty = { id: '', topicName: topic, data: Buffer.alloc(0), metadata: {}, contentType: '' };
    member.call.write({ ...empty, ...message });
  }

  /** Sends what is not acknowledged a second time. */
  repeat(): void {
    for (const { members } of this.groups.values()) {
      for (const { call, unacked } of members) for (const message of unacked.values()) call.write(message);
    }
  }

  /** Ends every stream with an error. */
  breakStreams(): void {
    for (const { members } of this.groups.values()) {
      for (const { call } of [...members]) call.emit('error', { code: status.INTERNAL, details: 'as the test wants' });
    }
  }

  /** Ids that no group has acknowledged. */
  get unsettled(): string[] {
    return [...this.groups.values()].flatMap(({ members, queue }) => [
      ...members.flatMap(({ unacked }) => [...unacked.keys()]),
      ...queue.map(({ id }) => id),
    ]);
  }

  stop(): void {
    this.server.forceShutdown();
  }

  private tell(event: PluginEvent): void {
    this.events.push(event);
    this.options.onEvent?.(event);
  }

  private replay(): void {
    const { journal } = this.options;
    if (journal === undefined || !existsSync(journal)) return;
    for (const line of readFileSync(journal, 'utf8').split('\n').filter(Boolean)) {
      const entry = JSON.parse(line) as { settled?: string; message?: PluginMessage & { data: string } };
      if (entry.settled !== undefined) this.settled.add(entry.settled);
      else if (entry.message) this.store({ ...entry.message, data: Buffer.from(entry.message.data, 'base64') });
    }
  }

  private note(entry: object): void {
    if (this.options.journal !== undefined) appendFileSync(this.options.journal, `${JSON.stringify(entry)}\n`);
  }

  private store(message: PluginMessage): void {
    this.lastId = Math.max(this.lastId, Number(message.id));
    this.log.set(message.topicName, [...(this.log.get(message.topicName) ?? []), message]);
    for (const [key, group] of this.groups) if (key.startsWith(`${message.topicName} `)) group.queue.push(message);
    this.dispatch();
  }

  private publish(topic: string, { data, metadata, contentType }: Omit<PluginMessage, 'id' | 'topicName'>): number {
    const code = this.options.refuse?.(topic, data) ?? 0;
    if (code !== 0) return code;
    const told = this.options.tellsContentType ? contentType : '';
    const message = { id: String(this.lastId + 1), topicName: topic, data, metadata, contentType: told };
    this.note({ message: { ...message, data: data.toString('base64') } });
    this.store(message);
    return 0;
  }

  private groupOf(topic: string, consumer: string): Group {
    const key = `${topic} ${consumer}`;
    const found = this.groups.get(key);
    if (found) return found;
    const queue = (this.log.get(topic) ?? []).filter(({ id }) => !this.settled.has(`${key} ${id}`));
    const group = { members: [], queue };
    this.groups.set(key, group);
    return group;
  }

  private dispatch(): void {
    const { window = 1000 } = this.options;
    for (const { members, queue } of this.groups.values()) {
      for (;;) {
        const free = members.filter(({ unacked, instance }) => unacked.size < window && !this.paused.has(instance));
        const [member] = free.toSorted((a, b) => a.unacked.size - b.unacked.size);
        const message = member && queue.shift();
        if (!message) break;
        member.unacked.set(message.id, message);
        member.call.write(message);
        this.tell({ kind: 'sent', id: message.id });
      }
    }
  }

  private pull(call: Pull, instance: string): void {
    let group: Group | undefined;
    let key = '';
    const member: Member = { call, instance, unacked: new Map() };
    const leave = (): void => {
      if (!group?.members.includes(member)) return;
      this.tell({ kind: 'end', instance });
      group.members.splice(group.members.indexOf(member), 1);
      group.queue.unshift(...member.unacked.values());
      member.unacked.clear();
      this.dispatch();
    };
    call.on('data', ({ topic, ackMessageId, ackError }: PullRequest) => {
      if (topic) {
        const consumer = this.consumers.get(instance) ?? '';
        key = `${topic.name} ${consumer}`;
        group = this.groupOf(topic.name, consumer);
        group.members.push(member);
        this.tell({ kind: 'pull', instance, topic: topic.name, metadata: topic.metadata });
      } else {
        this.tell({ kind: 'ack', id: ackMessageId, error: ackError?.message });
        if (!ackError && member.unacked.delete(ackMessageId)) {
          this.settled.add(`${key} ${ackMessageId}`);
          this.note({ settled: `${key} ${ackMessageId}` });
        }
      }
      this.dispatch();
    });
    call.on('end', () => {
      leave();
      call.end();
    });
    call.on('cancelled', leave);
    call.on('error', leave);
  }

  private methods(): UntypedServiceImplementation {
    type Answer = (error: { code: number; details: string } | null, response?: object) => void;
    type Call<Request> = { request: Request; metadata: { get(name: string): unknown[] } };
    const instanceOf = ({ metadata }: Call<unknown>): string => String(metadata.get('x-component-instance')[0] ?? '');
    const refused = (code: number): { code: number; details: string } => ({ code, details: 'refused by the test' });
    return {
      Init: (call: Call<{ metadata: { properties: Record<string, string> } }>, answer: Answer) => {
        const { properties } = call.request.metadata;
        this.tell({ kind: 'init', instance: instanceOf(call), properties });
        if (properties['fail']) return answer({ code: status.INVALID_ARGUMENT, details: properties['fail'] });
        this.consumers.set(instanceOf(call), properties['consumerID'] ?? '');
        answer(null, {});
      },
      Features: (_call: never, answer: Answer) => answer(null, { features: this.options.features ?? [] }),
      Publish: (call: Call<PluginMessage & { topic: string }>, answer: Answer) => {
        const { topic } = call.request;
        this.tell({ kind: 'publish', instance: instanceOf(call), topic, entries: 1 });
        const code = this.publish(topic, call.request);
        answer(code === 0 ? null : refused(code), {});
      },
      BulkPublish: (
        call: Call<{ topic: string; entries: (PluginMessage & { entryId: string; event: Buffer })[] }>,
        answer: Answer,
      ) => {
        const { topic, entries } = call.request;
        this.tell({ kind: 'bulk', instance: instanceOf(call), topic, entries: entries.length });
        const failed = entries.filter((entry) => this.publish(topic, { ...entry, data: entry.event }) !== 0);
        answer(null, { failedEntries: failed.map(({ entryId }) => ({ entryId, error: 'refused by the test' })) });
      },
      PullMessages: (call: Pull) => this.pull(call, instanceOf(call as never)),
      Ping: (_call: never, answer: Answer) => answer(null, {}),
      Pause: (call: Call<object>, answer: Answer) => {
        this.paused.add(instanceOf(call));
        this.tell({ kind: 'pause', instance: instanceOf(call) });
        answer(null, {});
      },
      Resume: (call: Call<object>, answer: Answer) => {
        this.paused.delete(instanceOf(call));
        this.tell({ kind: 'resume', instance: instanceOf(call) });
        this.dispatch();
        answer(null, {});
      },
    } as unknown as UntypedServiceImplementation;
  }
}
