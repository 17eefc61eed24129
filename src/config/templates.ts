/** Placeholders in a component's settings (contract 9.4, 9.5). */

import { randomUUID } from 'node:crypto';

/** What the placeholders stand for. An empty `namespace` is `default`; an empty `podName` is not known. */
export interface TemplateContext {
  readonly appId: string;
  readonly namespace: string;
  readonly podName: string;
}

export interface FilledSettings {
  readonly settings: Record<string, string>;
  /**
   * Goes before every topic on its way to the broker and comes off on the way back, because the component is scoped
   * to its namespace: some setting says `{namespace}`. Empty when none does.
   */
  readonly topicPrefix: string;
}

const PLACEHOLDER = /\{(?:uuid|podName|namespace|appID)\}/g;

/** Replaces the placeholders in settings whose secrets are resolved. Throws when one has nothing to stand for. */
export function fillTemplates(settings: Readonly<Record<string, string>>, context: TemplateContext): FilledSettings {
  const namespace = context.namespace || 'default';
  const replacements: Readonly<Record<string, (name: string) => string>> = {
    '{uuid}': () => randomUUID(),
    '{podName}': (name) => podName(name, context),
    '{namespace}': () => `${namespace}.${context.appId}`,
    '{appID}': () => context.appId,
  };
  const filled = Object.entries(settings).map(([name, value]) => [
    name,
    value.replaceAll(PLACEHOLDER, (placeholder) => replacements[placeholder]?.(name) ?? placeholder),
  ]);
  const scoped = Object.values(settings).some((value) => value.includes('{namespace}'));
  return { settings: Object.fromEntries(filled) as Record<string, string>, topicPrefix: scoped ? namespace : '' };
}

function podName(setting: string, context: TemplateContext): string {
  if (context.podName !== '') return context.podName;
  throw new Error(`failed to parse metadata: property ${setting} refers to {podName} but podName is not set`);
}
