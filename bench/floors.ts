/** What kafkajs alone takes where a sidecar does the same for others: the floor under its figures. */

import type { Figures } from './scenarios.ts';
import type { FloorAnswer } from './kafkajs.ts';
import type { Stage } from './stage.ts';

const figures = ({ messages, seconds, cpuMs }: FloorAnswer): Figures => ({
  perSecond: messages / seconds,
  cpuUs: (cpuMs * 1000) / messages,
});

/** By scenario. */
export const FLOORS: Readonly<Record<string, (stage: Stage) => Promise<Figures>>> = {
  'http-publish': async (stage) => figures(await stage.floor('publish', 1)),
  'http-bulk': async (stage) => figures(await stage.floor('publish', 100)),
  'http-deliver': async (stage) => {
    await stage.floor('publish', 100);
    return figures(await stage.floor('deliver', 1));
  },
};
