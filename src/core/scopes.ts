/** Which topics of a component an app may use, decided by the component's settings alone (contract 9.1). */
export interface TopicScopes {
  mayPublish(topic: string): boolean;
  maySubscribe(topic: string): boolean;
}

/**
 * Reads `publishingScopes`, `subscriptionScopes` (`app1=topicA,topicB;app2=`), `allowedTopics` and `protectedTopics`
 * (`topicA,topicB`) for one app. Names of settings count in any case, blanks in their values do not count. Topics are
 * compared as the app names them, before any namespace prefix.
 */
export function topicScopes(settings: Readonly<Record<string, string>>, appId: string): TopicScopes {
  const given = new Map(
    Object.entries(settings).map(([name, value]) => [name.toLowerCase(), value.replaceAll(/\s/g, '')]),
  );
  const value = (name: string): string => given.get(name.toLowerCase()) ?? '';
  const allowed = topicsIn(value('allowedTopics'));
  const guarded = topicsIn(value('protectedTopics'));

  const decision = (own: ReadonlySet<string>) => (topic: string) => {
    if (allowed.size > 0 && !allowed.has(topic)) return false;
    return own.has(topic) || (own.size === 0 && !guarded.has(topic));
  };
  return {
    mayPublish: decision(topicsOf(appId, value('publishingScopes'))),
    maySubscribe: decision(topicsOf(appId, value('subscriptionScopes'))),
  };
}

function topicsIn(list: string): ReadonlySet<string> {
  return new Set(list === '' ? [] : list.split(','));
}

/** Empty when the app is not mentioned; `app=` mentions it with no topic, which allows none. */
function topicsOf(appId: string, scopes: string): ReadonlySet<string> {
  const own = new Set<string>();
  for (const entry of scopes.split(';')) {
    const [app, topics] = entry.split('=');
    if (app === appId && topics !== undefined) for (const topic of topics.split(',')) own.add(topic);
  }
  return own;
}
