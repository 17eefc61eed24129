import { integer } from '../../lib/settings.ts';

/** What the sidecar itself reads. The component gets these and all others. */
export const SETTINGS = {
  concurrency: integer({
    default: 1,
    min: 1,
    description: 'Messages a subscription handles at once. With 1 they are handled in the order they came.',
  }),
};
