/** The faults that concern Redis, under the numbers that docs/brokers.md has for them. */

import type { Row } from './row.ts';
import { HANDLERS } from './rows/handlers.ts';
import { KILLS } from './rows/kills.ts';
import { NETWORK } from './rows/network.ts';
import { SERVERS } from './rows/servers.ts';

export const ROWS: Readonly<Record<number, Row>> = { ...KILLS, ...HANDLERS, ...SERVERS, ...NETWORK };
