/**
 * Server reflection (v1 and v1alpha), from the descriptors that protoc made: those that protobufjs makes of the .proto
 * files name map entries and types in ways that other languages refuse. Its library loads with the first call, not at
 * start.
 */

import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { BinaryReader } from '@bufbuild/protobuf/wire';
import type { Server, ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { ReflectionService } from '@grpc/reflection';
import { GrpcCode, messageOf } from '../core/errors.ts';
import { packageRoot } from '../lib/package-root.ts';
import type { Serve } from './bind.ts';
import type { ServerCall } from './call.ts';

const SERVICES = ['grpc.reflection.v1.ServerReflection', 'grpc.reflection.v1alpha.ServerReflection'];
const METHOD = 'ServerReflectionInfo';
/** What this server serves; the descriptors have the app's services too. */
const SERVED = ['dapr.proto.runtime.v1.Dapr', 'grpc.health.v1.Health'];

interface Loaded {
  readonly definition: ServiceDefinition;
  readonly implementation: UntypedServiceImplementation;
}

/** Both reflection services, by the path of their method. */
export function createReflection(): Record<string, Serve> {
  let loading: Promise<ReadonlyMap<string, Loaded>> | undefined;
  const serveOf = (name: string): Serve => {
    return (call) =>
      void (loading ??= load()).then(
        (services) => serve(call, services.get(name) as Loaded),
        (error: unknown) => call.end({ code: GrpcCode.INTERNAL, details: messageOf(error) }),
      );
  };
  return Object.fromEntries(SERVICES.map((name) => [`/${name}/${METHOD}`, serveOf(name)]));
}

/** Runs the library's handler on a call. */
function serve(call: ServerCall, { definition, implementation }: Loaded): void {
  const method = definition[METHOD] as ServiceDefinition[string];
  const typed = Object.assign(new EventEmitter(), {
    write: (response: unknown) => call.write(method.responseSerialize(response)),
    end: () => call.end(),
  });
  (implementation[METHOD] as unknown as (typed: EventEmitter) => void)(typed);
  call.read({
    message: (bytes) => {
      try {
        typed.emit('data', method.requestDeserialize(bytes));
      } catch (error) {
        call.end({ code: GrpcCode.INVALID_ARGUMENT, details: messageOf(error) });
      }
    },
    end: () => typed.emit('end'),
  });
}

async function load(): Promise<ReadonlyMap<string, Loaded>> {
  const { ReflectionService } = await import('@grpc/reflection');
  const descriptors = filesOf(await readFile(join(packageRoot(), 'gen/descriptors.binpb')));
  const loaded = new Map<string, Loaded>();
  const collect = (definition: ServiceDefinition, implementation: UntypedServiceImplementation): void => {
    const path = definition[METHOD]?.path ?? '';
    loaded.set(path.split('/')[1] as string, { definition, implementation });
  };
  const protos = { descriptors: { format: '', type: {}, fileDescriptorProtos: descriptors } };
  const service = new ReflectionService(protos as unknown as Protos, { services: SERVED });
  service.addToServer({ addService: collect } as Pick<Server, 'addService'> as Server);
  return loaded;
}

type Protos = ConstructorParameters<typeof ReflectionService>[0];

/** The FileDescriptorProtos of a FileDescriptorSet, each still encoded. */
function filesOf(set: Uint8Array): Buffer[] {
  const files: Buffer[] = [];
  const reader = new BinaryReader(set);
  while (reader.pos < reader.len) {
    reader.tag(); // the set has one field
    files.push(Buffer.from(reader.bytes()));
  }
  return files;
}
