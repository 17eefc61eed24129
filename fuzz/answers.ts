/** What an app over gRPC may write to a call, byte by byte: every call ends, with a message or with a status. */

import { GrpcClient } from '../src/channels/grpc-client.ts';
import { GrpcCallError } from '../src/channels/call-end.ts';
import { startFrameApp } from '../test/_support/frames.ts';
import { answerOf, onStream } from './relay.ts';
import type { Random } from './random.ts';
import type { Target } from './target.ts';

const DEADLINE_MS = 2000;

function bytesOf(random: Random): Buffer {
  const frames = Buffer.concat([answerOf(random), ...random.many(3, () => answerOf(random))]);
  return random.chance(50) ? frames : random.damage(frames);
}

export const answersTarget: Target = {
  name: 'answers',
  about: 'what an app answers to a delivery over gRPC, down to the frames',
  generate: bytesOf,
  open: async () => {
    let input = Buffer.alloc(0);
    const app = await startFrameApp((stream) => onStream(input, stream));
    const to = { host: '127.0.0.1', port: app.port, tls: false, maxMessageBytes: 1 << 20, idleMs: 60_000 };
    return {
      run: async (bytes) => {
        input = Buffer.from(bytes);
        const client = new GrpcClient({ ...to, onCall: undefined });
        const signal = AbortSignal.timeout(DEADLINE_MS / 10); // apps may leave a call open
        const late = new Promise<string>((resolve) => setTimeout(resolve, DEADLINE_MS, 'no end').unref());
        const ended = client.call('/a.B/C', Buffer.from('x'), [], signal).then(
          () => undefined,
          (error: unknown) => (error instanceof GrpcCallError ? undefined : String(error)),
        );
        const wrong = await Promise.race([ended, late]);
        client.close();
        return wrong;
      },
      close: async () => app.close(),
    };
  },
};
