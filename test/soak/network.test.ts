import { NETWORK } from './rows/network.ts';
import { declareShort } from './short.ts';

declareShort(NETWORK);
