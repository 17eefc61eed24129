/** Makes the question about one of a question about many: what is asked for in one turn goes in one request. */
export function together<K, A>(askForAll: (wanted: readonly K[]) => Promise<A>): (one: K) => Promise<A> {
  let wanted: K[] = [];
  let answer: Promise<A> | undefined;
  return (one) => {
    wanted.push(one);
    return (answer ??= Promise.resolve().then(() => {
      const all = wanted;
      wanted = [];
      answer = undefined;
      return askForAll(all);
    }));
  };
}
