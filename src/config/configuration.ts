/** The Configuration resource: what of it concerns a pub/sub sidecar (contract 11.4). */

import type { ApiRule } from '../core/api-access.ts';
import { messageOf } from '../core/errors.ts';
import { Fields } from '../lib/fields.ts';
import type { Log } from '../lib/log.ts';
import type { Environment } from './environment.ts';
import { DEFAULT_METRICS, metricsOf, type MetricsSettings } from './metrics.ts';
import { NO_TRACING, tracingOf, withEnvironment, type TracingSettings } from './tracing.ts';
import { readText, yamlDocuments } from './yaml.ts';

export interface Configuration {
  readonly tracing: TracingSettings;
  readonly metrics: MetricsSettings;
  /** Switches by name. A feature that is not in it has its default. */
  readonly features: ReadonlyMap<string, boolean>;
  readonly api: { readonly allowed: readonly ApiRule[]; readonly denied: readonly ApiRule[] };
  /** Types of components, `type` or `type/version`, that may not be loaded. */
  readonly deniedComponents: readonly string[];
  readonly apiLogging: {
    /** Undefined: the files do not say. */
    readonly enabled: boolean | undefined;
    readonly obfuscateUrls: boolean;
    readonly omitHealthChecks: boolean;
  };
}

/** Without any file. */
export const DEFAULT_CONFIGURATION: Configuration = {
  tracing: NO_TRACING,
  metrics: DEFAULT_METRICS,
  features: new Map(),
  api: { allowed: [], denied: [] },
  deniedComponents: [],
  apiLogging: { enabled: undefined, obfuscateUrls: false, omitHealthChecks: false },
};

/**
 * Reads the files one over the other: what a later file says counts, lists as a whole. `$NAME` and `${NAME}` in them
 * stand for variables, unset ones for nothing. Rejects when a file is missing, is no YAML or has a value of the wrong
 * kind; the error names the file.
 */
export async function loadConfiguration(
  files: readonly string[],
  environment: Environment,
  log: Log,
): Promise<Configuration> {
  let configuration = DEFAULT_CONFIGURATION;
  for (const file of files) {
    try {
      configuration = overlay(configuration, await readSpec(file, environment), log);
    } catch (cause) {
      throw new Error(`failed to load configuration from ${file}: ${messageOf(cause)}`, { cause });
    }
    log.info('Application configuration loaded');
  }
  const { enabled, increasedCardinality, pathMatching, excludeVerbs } = configuration.metrics;
  log.info(`metric spec: ${JSON.stringify({ enabled, http: { increasedCardinality, pathMatching, excludeVerbs } })}`);
  return { ...configuration, tracing: withEnvironment(configuration.tracing, environment) };
}

async function readSpec(file: string, { variable }: Environment): Promise<Fields> {
  const text = await readText(file);
  const expanded = text.replaceAll(/\$(?:\{(\w+)\}|(\w+))/g, (_, braced?: string, bare?: string) => {
    return variable(braced ?? bare ?? '') ?? '';
  });
  const first = yamlDocuments(expanded)[0];
  if (first?.error) throw first.error;
  return new Fields(first?.content, '').child('spec');
}

function overlay(base: Configuration, spec: Fields, log: Log): Configuration {
  const api = spec.child('api');
  const components = spec.child('components');
  const logging = spec.child('logging').child('apiLogging');
  const features = spec.children('features').map((one) => [one.text('name'), one.flag('enabled') ?? false] as const);
  return {
    tracing: tracingOf(spec.child('tracing'), base.tracing, log),
    metrics: metricsOf(spec, base.metrics),
    features: spec.has('features') ? new Map(features) : base.features,
    api: {
      allowed: api.has('allowed') ? apiRules(api, 'allowed') : base.api.allowed,
      denied: api.has('denied') ? apiRules(api, 'denied') : base.api.denied,
    },
    deniedComponents: components.has('deny') ? components.texts('deny') : base.deniedComponents,
    apiLogging: {
      enabled: logging.flag('enabled') ?? base.apiLogging.enabled,
      obfuscateUrls: logging.flag('obfuscateURLs') ?? base.apiLogging.obfuscateUrls,
      omitHealthChecks: logging.flag('omitHealthChecks') ?? base.apiLogging.omitHealthChecks,
    },
  };
}

function apiRules(api: Fields, list: string): ApiRule[] {
  return api.children(list).map((rule) => ({
    name: rule.text('name'),
    version: rule.text('version'),
    protocol: rule.text('protocol'),
  }));
}
