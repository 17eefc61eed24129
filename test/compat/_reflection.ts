/** What a sidecar says of its services by gRPC server reflection, read by a client that knows nothing else of them. */

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Client } from '@grpc/grpc-js';
import { credentials, loadPackageDefinition, type ClientDuplexStream } from '@grpc/grpc-js';
import { loadFileDescriptorSetFromBuffer, loadSync, type Options, type PackageDefinition } from '@grpc/proto-loader';

const PROTOS = join(dirname(createRequire(import.meta.url).resolve('@grpc/reflection')), '../proto');

interface Answer {
  readonly file_descriptor_response?: { readonly file_descriptor_proto: readonly Buffer[] };
  readonly list_services_response?: { readonly service: readonly { readonly name: string }[] };
  readonly error_response?: { readonly error_message: string };
}

/** One conversation with the reflection service. */
class Conversation {
  private readonly client: Client;
  private readonly stream: ClientDuplexStream<object, Answer>;

  constructor(port: number, version: 'v1' | 'v1alpha') {
    const file = `grpc/reflection/${version}/reflection.proto`;
    const loaded = loadPackageDefinition(loadSync(file, { includeDirs: [PROTOS], keepCase: true })) as never as {
      grpc: { reflection: Record<string, { ServerReflection: new (...args: unknown[]) => Client }> };
    };
    const { ServerReflection } = loaded.grpc.reflection[version] as {
      ServerReflection: new (...args: unknown[]) => Client;
    };
    this.client = new ServerReflection(`127.0.0.1:${port}`, credentials.createInsecure());
    const { ServerReflectionInfo } = this.client as never as {
      ServerReflectionInfo(): ClientDuplexStream<object, Answer>;
    };
    this.stream = ServerReflectionInfo.call(this.client);
  }

  ask(question: object): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.stream.once('data', (answer: Answer) => {
        if (answer.error_response) reject(new Error(answer.error_response.error_message));
        else resolve(answer);
      });
      this.stream.once('error', reject);
      this.stream.write(question);
    });
  }

  close(): void {
    this.stream.on('error', () => undefined);
    this.stream.end();
    this.client.close();
  }
}

/** Every service that reflection lists but itself, and all of their messages. */
export async function reflected(
  port: number,
  version: 'v1' | 'v1alpha',
  options: Options,
): Promise<{ services: readonly string[]; definition: PackageDefinition }> {
  const conversation = new Conversation(port, version);
  try {
    const listed = (await conversation.ask({ list_services: '*' })).list_services_response?.service ?? [];
    const services = listed.map(({ name }) => name).filter((name) => !name.startsWith('grpc.reflection.'));
    const files = new Map<string, Buffer>();
    for (const symbol of services) {
      const { file_descriptor_response } = await conversation.ask({ file_containing_symbol: symbol });
      for (const file of file_descriptor_response?.file_descriptor_proto ?? [])
        files.set(file.toString('base64'), file);
    }
    const set = Buffer.concat(
      [...files.values()].map((file) => Buffer.concat([Buffer.from([0x0a]), varint(file.length), file])),
    );
    return { services, definition: loadFileDescriptorSetFromBuffer(set, options) };
  } finally {
    conversation.close();
  }
}

/** A whole number as protobuf writes it. */
export function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}
