/** What the user asks by signals: the first asks for an end, the second for a quick one, the third for it at once. */
export interface StopRequests {
  readonly end: AbortSignal;
  readonly hurry: AbortSignal;
  readonly kill: AbortSignal;
  /** Gives the signals back their usual meaning. */
  release(): void;
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

export function stopRequests(): StopRequests {
  const steps = [new AbortController(), new AbortController(), new AbortController()] as const;
  const listener = (): void => steps.find(({ signal }) => !signal.aborted)?.abort();
  for (const name of SIGNALS) process.on(name, listener);
  const [end, hurry, kill] = steps;
  return {
    end: end.signal,
    hurry: hurry.signal,
    kill: kill.signal,
    release: () => {
      for (const name of SIGNALS) process.off(name, listener);
    },
  };
}
