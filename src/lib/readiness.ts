/** What must be ready before the sidecar says that it is. */
export class Readiness {
  private readonly targets: Set<string>;
  private readonly listeners = new Set<() => void>();

  constructor(targets: readonly string[]) {
    this.targets = new Set(targets);
  }

  /** Targets that are not ready yet. */
  get missing(): readonly string[] {
    return [...this.targets];
  }

  reached(target: string): void {
    if (this.targets.delete(target) && this.targets.size === 0) for (const listener of this.listeners) listener();
  }

  lost(target: string): void {
    this.targets.add(target);
    for (const listener of this.listeners) listener();
  }

  /** `listener` hears of each change between ready and not. Returns how to stop that. */
  readonly onChange = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
}
