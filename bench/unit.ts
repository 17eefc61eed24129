/** The unit of measure: what a bare node:http server costs that reads a body and answers 204. */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { serve } from './worker.ts';

const server = createServer((request, response) => {
  request.resume();
  request.on('end', () => response.writeHead(204).end());
});

serve(
  (_: 'listen'): Promise<number> =>
    new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))),
);
