import { KILLS } from './rows/kills.ts';
import { declareShort } from './short.ts';

declareShort(KILLS);
