/** Calls from browsers (contract 3.1): nothing at all unless origins are allowed. */

import type { IncomingMessage, ServerResponse } from 'node:http';

const METHODS = ['HEAD', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** Answers a preflight and returns true; gives any other answer its headers and returns false. */
export function allowOrigin(origins: readonly string[], request: IncomingMessage, response: ServerResponse): boolean {
  if (origins.length === 0) return false;
  const { origin } = request.headers;
  const method = request.headers['access-control-request-method'];
  const isPreflight = request.method === 'OPTIONS' && method !== undefined;
  response.setHeader(
    'vary',
    isPreflight ? 'Origin, Access-Control-Request-Method, Access-Control-Request-Headers' : 'Origin',
  );
  if (origin !== undefined && origins.some((allowed) => isMeant(allowed, origin))) {
    response.setHeader('access-control-allow-origin', origins.includes('*') ? '*' : origin);
    if (isPreflight && METHODS.includes(method)) {
      response.setHeader('access-control-allow-methods', method);
      const headers = request.headers['access-control-request-headers'];
      if (headers) response.setHeader('access-control-allow-headers', headers);
    }
  }
  if (isPreflight) response.writeHead(200).end();
  return isPreflight;
}

/** In any case; a star stands for anything. */
function isMeant(allowed: string, origin: string): boolean {
  const [given, asked] = [allowed.toLowerCase(), origin.toLowerCase()];
  const star = given.indexOf('*');
  if (star < 0) return given === asked;
  const [begin, end] = [given.slice(0, star), given.slice(star + 1)];
  return asked.length >= begin.length + end.length && asked.startsWith(begin) && asked.endsWith(end);
}
