/** Asks whoever serves a socket what that is, by server reflection. */

import type { Client } from '@grpc/grpc-js';
import {
  ServerReflectionService,
  type ServerReflectionRequest,
  type ServerReflectionResponse,
} from '../../../gen/grpc/reflection/v1alpha/reflection.ts';
import { PluginError } from './plugin-error.ts';

const WANTED = 'dapr.proto.components.v1.PubSub';
const ANSWER_MS = 5000;

/** Rejects when the services behind `client` are known and none is a broker. PluginError when it cannot be asked. */
export async function refuseOthers(client: Client, socket: string): Promise<void> {
  const services = await listServices(client).catch((error: unknown) => {
    if (error instanceof PluginError && error.isUnimplemented) return [WANTED]; // Init will tell
    throw error;
  });
  if (services.includes(WANTED)) return;
  throw new Error(`${socket} does not serve ${WANTED}, but ${services.join(', ') || 'nothing'}`);
}

function listServices(client: Client): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const { path, requestSerialize, responseDeserialize } = ServerReflectionService.serverReflectionInfo;
    const call = client.makeBidiStreamRequest<ServerReflectionRequest, ServerReflectionResponse>(
      path,
      requestSerialize,
      responseDeserialize,
      { deadline: Date.now() + ANSWER_MS },
    );
    call.once('error', (error: Error) => reject(PluginError.from(error)));
    call.on('data', ({ messageResponse }: ServerReflectionResponse) => {
      const listed = messageResponse?.$case === 'listServicesResponse' ? messageResponse.value.service : [];
      resolve(listed.map(({ name }) => name));
    });
    call.once('end', () => resolve([]));
    call.write({ host: '', messageRequest: { $case: 'listServices', value: '*' } });
    call.end();
  });
}
