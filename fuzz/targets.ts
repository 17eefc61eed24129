/** Everything that can be fuzzed. */

import { answersTarget } from './answers.ts';
import { DOCUMENTS } from './documents.ts';
import { grpcTarget } from './grpc.ts';
import { httpTarget } from './http.ts';
import { relayTarget } from './relay.ts';
import type { Target } from './target.ts';

export const TARGETS: readonly Target[] = [httpTarget, grpcTarget, relayTarget, answersTarget, ...DOCUMENTS];
