/** Which endpoints of the API may be called at all (contract 1.7 and 3.10). */

/** An entry of the lists, as it was written. */
export interface ApiRule {
  readonly name: string;
  readonly version: string;
  readonly protocol: string;
}

/** An endpoint in the words that rules use. */
export interface Endpoint {
  readonly name: string;
  readonly version: string;
  /** Over HTTP also the pattern of its URL from the version on, which older rules name a beginning of. */
  readonly url?: string;
}

export class ApiAccess {
  private readonly allowed: readonly ApiRule[];
  private readonly denied: readonly ApiRule[];

  constructor(allowed: readonly ApiRule[], denied: readonly ApiRule[]) {
    this.allowed = allowed;
    this.denied = denied;
  }

  /** What is denied may not be called; where anything is allowed, nothing else may. */
  allows(protocol: 'http' | 'grpc', endpoint: Endpoint): boolean {
    const names = (rule: ApiRule): boolean => rule.protocol.toLowerCase() === protocol && isNamedBy(rule, endpoint);
    if (this.denied.some(names)) return false;
    const relevant = this.allowed.filter((rule) => rule.protocol.toLowerCase() === protocol);
    return relevant.length === 0 || relevant.some(names);
  }
}

function isNamedBy(rule: ApiRule, { name, version, url }: Endpoint): boolean {
  if (rule.name === name && rule.version === version) return true;
  return url !== undefined && url.startsWith(`${rule.version}/${rule.name}`);
}
