/** So many at once, the others in the order they came. */
export class Semaphore {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  /** `slots` may be Infinity. */
  constructor(slots: number) {
    this.free = slots;
  }

  /** Resolves when a slot is taken; give it back with `release`. */
  async acquire(): Promise<void> {
    if (this.free > 0) this.free--;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
  }

  release(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.free++;
  }
}
