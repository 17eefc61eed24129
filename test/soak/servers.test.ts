import { SERVERS } from './rows/servers.ts';
import { declareShort } from './short.ts';

declareShort(SERVERS);
