import { HANDLERS } from './rows/handlers.ts';
import { declareShort } from './short.ts';

declareShort(HANDLERS);
