/** What may be busy: `deadline` says when it is to stop waiting for that. */
export interface Closable {
  close(deadline: AbortSignal): Promise<void>;
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
