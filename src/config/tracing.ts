/** Where spans go and how many: `spec.tracing` of a Configuration, and the environment (contract 11.4, 12.2). */

import type { Fields } from '../lib/fields.ts';
import { parseDuration } from '../lib/duration.ts';
import type { Log } from '../lib/log.ts';
import { withoutSecrets } from '../lib/without-secrets.ts';
import type { Environment } from './environment.ts';

export interface TracingSettings {
  /** Share of new traces that are recorded, 0 to 1. 0: none at all. */
  readonly samplingRate: number;
  readonly stdout: boolean;
  /** Empty: none. */
  readonly zipkinUrl: string;
  readonly otlp: OtlpSettings | undefined;
  readonly serviceName: string;
  /** Attributes of the resource that sends spans. */
  readonly attributes: Readonly<Record<string, string>>;
  /** How long spans gather before they are sent, milliseconds. */
  readonly delayMs: number;
}

export interface OtlpSettings {
  readonly url: string;
  readonly protocol: 'grpc' | 'http';
  readonly headers: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
}

export const NO_TRACING: TracingSettings = {
  samplingRate: 0.0001,
  stdout: false,
  zipkinUrl: '',
  otlp: undefined,
  serviceName: '',
  attributes: {},
  delayMs: 5000,
};

const OTLP_TIMEOUT_MS = 10_000;

/** What `spec.tracing` of a file says over what those before it said. Throws an Error for an exporter that cannot be. */
export function tracingOf(spec: Fields, base: TracingSettings, log: Log): TracingSettings {
  const otel = spec.child('otel');
  return {
    ...base,
    samplingRate: samplingRate(spec.text('samplingRate'), log) ?? base.samplingRate,
    stdout: spec.flag('stdout') ?? base.stdout,
    zipkinUrl: spec.child('zipkin').text('endpointAddress') || base.zipkinUrl,
    otlp: otel.text('endpointAddress') === '' ? base.otlp : otlpOf(otel, log),
  };
}

/** With what the environment adds: a collector where the files name none, headers likewise, and who we are. */
export function withEnvironment(tracing: TracingSettings, { variable }: Environment): TracingSettings {
  const value = (name: string): string => variable(name)?.trim() ?? '';
  const otlpValue = (name: string): string =>
    value(`OTEL_EXPORTER_OTLP_TRACES_${name}`) || value(`OTEL_EXPORTER_OTLP_${name}`);
  const headers = pairsOf(otlpValue('HEADERS'));
  const { otlp } = tracing;
  const { 'service.name': named = '', ...attributes } = pairsOf(value('OTEL_RESOURCE_ATTRIBUTES'));
  const delay = value('OTEL_BSP_SCHEDULE_DELAY');
  return {
    ...tracing,
    otlp: otlp ? { ...otlp, headers: Object.keys(otlp.headers).length > 0 ? otlp.headers : headers } : fromVariables(),
    serviceName: value('OTEL_SERVICE_NAME') || named,
    attributes,
    delayMs: /^\d+$/.test(delay) ? Number(delay) : tracing.delayMs,
  };

  function fromVariables(): OtlpSettings | undefined {
    const endpoint = otlpValue('ENDPOINT');
    if (endpoint === '') return undefined;
    const protocol = otlpValue('PROTOCOL').startsWith('http') ? 'http' : 'grpc';
    const isSecure = !endpoint.startsWith('http://') && otlpValue('INSECURE') !== 'true';
    const isExact = value('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT') !== '';
    const url = urlOf(endpoint, protocol, isSecure, isExact);
    return { url, protocol, headers, timeoutMs: Number(otlpValue('TIMEOUT')) || OTLP_TIMEOUT_MS };
  }
}

function otlpOf(otel: Fields, log: Log): OtlpSettings | undefined {
  const protocol = otel.text('protocol');
  if (protocol === '') {
    log.warn('tracing.otel wants a protocol, http or grpc: spans are not exported there');
    return undefined;
  }
  if (protocol !== 'http' && protocol !== 'grpc') {
    throw new Error(`invalid protocol ${protocol} provided for Otel endpoint`);
  }
  return {
    url: urlOf(otel.text('endpointAddress'), protocol, otel.flag('isSecure') ?? true, false),
    protocol,
    headers: pairsOf(otel.text('headers')),
    timeoutMs: parseDuration(otel.text('timeout'), 1) || OTLP_TIMEOUT_MS,
  };
}

/** `host:port` or a URL, with the path of OTLP over HTTP where it is not the exact one. Throws when it is neither. */
function urlOf(endpoint: string, protocol: 'grpc' | 'http', isSecure: boolean, isExact: boolean): string {
  const [, bare = '', query = ''] = /^(?:https?:\/\/)?([^?]*?)\/*(\?.*)?$/s.exec(endpoint) ?? [];
  const text = `${isSecure ? 'https' : 'http'}://${bare}`;
  if (!URL.canParse(text)) throw new Error(`'${withoutSecrets(endpoint)}' is no address of an Otel endpoint`);
  const isWhole = protocol === 'grpc' || isExact || text.endsWith('/v1/traces');
  return `${text}${isWhole ? '' : '/v1/traces'}${query}`;
}

/** `name=value,name=value`, values percent-encoded. */
function pairsOf(text: string): Record<string, string> {
  const pairs = text.split(',').flatMap((pair) => {
    const at = pair.indexOf('=');
    return at < 1 ? [] : [[pair.slice(0, at).trim(), decoded(pair.slice(at + 1).trim())] as const];
  });
  return Object.fromEntries(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Undefined for the default. */
function samplingRate(text: string, log: Log): number | undefined {
  if (text === '') return undefined;
  const rate = Number(text);
  if (rate >= 0 && rate <= 1) return rate;
  log.warn(`tracing.samplingRate wants a number from 0 to 1, not '${text}'; the default is used`);
  return undefined;
}
