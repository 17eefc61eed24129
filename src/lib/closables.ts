/** What may be busy: `deadline` says when it is to stop waiting for that. */
export interface Closable {
  close(deadline: AbortSignal): Promise<void>;
}

/** Where as many are open as may be, the one that has been open the longest ends, of those that are idle. */
export function makeRoom<One extends { destroy(): unknown }>(
  open: { readonly size: number; keys(): Iterable<One> },
  most: number,
  isIdle: (one: One) => boolean,
): void {
  if (open.size < most) return;
  for (const one of open.keys()) if (isIdle(one)) return void one.destroy();
}

/** What is open, to be closed one by one or all at once. */
export class Closables {
  private readonly open = new Set<Closable>();

  /** Gives what closes it. */
  add(one: Closable): Closable {
    this.open.add(one);
    return {
      close: async (deadline) => {
        await one.close(deadline);
        this.open.delete(one);
      },
    };
  }

  /** Waits for nothing that they do. */
  async close(): Promise<void> {
    await Promise.all([...this.open].map((one) => one.close(AbortSignal.abort())));
  }
}
