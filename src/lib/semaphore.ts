/** So many at once, the others in the order they came. */
export class Semaphore {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  /** `slots` may be Infinity. */
  constructor(slots: number) {
    this.free = slots;
  }

  /** Takes a slot, at once or, where that is undefined, when what it returns resolves. Give it back with `release`. */
  acquire(): Promise<void> | undefined {
    if (this.free > 0) this.free--;
    else return new Promise<void>((resolve) => this.waiting.push(resolve));
    return undefined;
  }

  /** Calls when it has a slot, and gives that back when what was called has ended. */
  async run<T>(call: () => Promise<T>): Promise<T> {
    const turn = this.acquire();
    if (turn) await turn;
    try {
      return await call();
    } finally {
      this.release();
    }
  }

  release(): void {
    const next = this.waiting.shift();
    if (next) next();
    else this.free++;
  }
}
