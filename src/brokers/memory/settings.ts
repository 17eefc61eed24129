import { integer, quantity } from '../../lib/settings.ts';

export const SETTINGS = {
  concurrency: integer({
    default: 1,
    min: 1,
    description: 'Messages a subscription handles at once. With 1 they are handled in the order they were published.',
  }),
  maxMessages: integer({
    default: 100_000,
    min: 1,
    description: 'Messages a subscription may hold unsettled. A publish that would exceed it fails.',
  }),
  maxBytes: quantity({
    default: 64 * 2 ** 20,
    shown: '64Mi',
    description: 'Bytes of payload a subscription may hold unsettled. A publish that would exceed it fails.',
  }),
};
