import { withoutSecrets } from '../../lib/without-secrets.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * The addresses of `redisHost`. `port` is what `redisPort` says, 0 when it says nothing; a host that names another
 * one is an error.
 */
export function parseAddresses(hosts: string, port: number, defaultPort: number): Address[] {
  return hosts
    .split(',')
    .map((host) => host.trim())
    .filter((host) => host !== '')
    .map((host) => parseAddress(host, port, defaultPort));
}

function parseAddress(text: string, port: number, defaultPort: number): Address {
  if (/[/@?]/.test(text)) throw new Error(`redisHost wants host or host:port, not '${withoutSecrets(text)}'`);
  const [, bracketed, plain, given] = /^(?:\[(.*)\]|([^:]*)):(\d+)$/.exec(text) ?? [];
  if (given === undefined) return { host: text.replace(/^\[(.*)\]$/, '$1'), port: port || defaultPort };
  if (port !== 0 && Number(given) !== port) {
    throw new Error(
      `redis host "${text}" already contains port ${given}, but redisPort is set to ${port}; ` +
        'either remove the port from redisHost or remove the redisPort setting',
    );
  }
  if (Number(given) > 65_535) throw new Error(`redisHost wants a port, not '${given}'`);
  return { host: bracketed ?? plain ?? '', port: Number(given) };
}
