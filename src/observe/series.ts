/**
 * Prometheus series as plain numbers that who counts holds in his hand: a scrape prints them, a count adds to a number.
 * The usual library looks each one up by its labels at every count, which took 1.3 us of each delivery.
 */

/** Values of the labels of one series, by name. */
export type Labels = Readonly<Record<string, string>>;
/** What a label is to be instead, for rules of the operator. */
export type Relabel = (metric: string, label: string, value: string) => string;

/** Labels whose values clients choose: what exceeds MAX_SERIES of a metric is summed up under one name. */
const UNBOUNDED = ['topic', 'path'];
const MAX_SERIES = 2000;
/** Stands for what has no series of its own. */
export const OTHERS = '_other';

/** One series of a counter or gauge. */
export interface Tally {
  value: number;
}

/** One series of a histogram. */
export class Distribution {
  readonly counts: number[];
  sum = 0;
  count = 0;
  private readonly bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    const { bounds } = this;
    let at = 0;
    while (at < bounds.length && value > (bounds[at] as number)) at++;
    if (at < bounds.length) (this.counts[at] as number)++;
    this.sum += value;
    this.count++;
  }
}

/** One metric: all series of a name. */
export class Metric<Series> {
  private readonly name: string;
  private readonly head: string;
  private readonly labelNames: readonly string[];
  private readonly relabel: Relabel;
  private readonly make: () => Series;
  private readonly print: (name: string, labels: string, series: Series) => string;
  private readonly series = new Map<string, Series>();

  constructor(what: {
    name: string;
    head: string;
    labelNames: readonly string[];
    relabel: Relabel;
    make: () => Series;
    print: (name: string, labels: string, series: Series) => string;
  }) {
    this.name = what.name;
    this.head = what.head;
    this.labelNames = what.labelNames.toSorted();
    this.relabel = what.relabel;
    this.make = what.make;
    this.print = what.print;
  }

  /** The series of these labels, the same one each time; what is not given is empty. Worth keeping at hand. */
  of(labels: Labels): Series {
    const key = this.keyOf(labels);
    const known = this.series.get(key);
    if (known) return known;
    const isFull = this.series.size >= MAX_SERIES && UNBOUNDED.some((name) => (labels[name] ?? OTHERS) !== OTHERS);
    if (isFull) return this.of({ ...labels, ...Object.fromEntries(UNBOUNDED.map((name) => [name, OTHERS])) });
    const made = this.make();
    this.series.set(key, made);
    return made;
  }

  /** Forgets every series: for what is asked anew at each scrape. Those at hand are not shown any more. */
  clear(): void {
    this.series.clear();
  }

  /** Lines of a scrape; none where nothing was counted. */
  text(): string {
    const lines = [...this.series].map(([labels, one]) => this.print(this.name, labels, one)).join('');
    return lines === '' ? '' : this.head + lines;
  }

  private keyOf(labels: Labels): string {
    return this.labelNames
      .map((name) => `${name}="${escaped(this.relabel(this.name, name, labels[name] ?? ''))}"`)
      .join(',');
  }
}

/** All metrics of a process. */
export class Exposition {
  private readonly relabel: Relabel;
  private readonly latencyBounds: readonly number[];
  private readonly metrics: { text(): string }[] = [];

  /** `latencyBounds`: upper bounds of the buckets of latencies, milliseconds. */
  constructor(latencyBounds: readonly number[], relabel: Relabel) {
    this.latencyBounds = latencyBounds;
    this.relabel = relabel;
  }

  counter(name: string, help: string, labelNames: readonly string[]): Metric<Tally> {
    return this.add(name, 'counter', help, labelNames, () => ({ value: 0 }), printTally);
  }

  gauge(name: string, help: string, labelNames: readonly string[]): Metric<Tally> {
    return this.add(name, 'gauge', help, labelNames, () => ({ value: 0 }), printTally);
  }

  latency(name: string, help: string, labelNames: readonly string[]): Metric<Distribution> {
    return this.histogram(name, help, labelNames, this.latencyBounds);
  }

  size(name: string, help: string, labelNames: readonly string[]): Metric<Distribution> {
    return this.histogram(name, help, labelNames, SIZE_BOUNDS);
  }

  /** The text of a scrape. */
  text(): string {
    return this.metrics.map((metric) => metric.text()).join('');
  }

  private histogram(
    name: string,
    help: string,
    labelNames: readonly string[],
    bounds: readonly number[],
  ): Metric<Distribution> {
    const print = (of: string, labels: string, { counts, sum, count }: Distribution): string => {
      if (count === 0) return '';
      let below = 0;
      const buckets = bounds.map(
        (bound, i) => `${of}_bucket{${labels},le="${bound}"} ${(below += counts[i] as number)}\n`,
      );
      const rest = [`_bucket{${labels},le="+Inf"} ${count}`, `_sum{${labels}} ${sum}`, `_count{${labels}} ${count}`];
      return buckets.join('') + rest.map((line) => `${of}${line}\n`).join('');
    };
    return this.add(name, 'histogram', help, labelNames, () => new Distribution(bounds), print);
  }

  private add<Series>(
    name: string,
    type: string,
    help: string,
    labelNames: readonly string[],
    make: () => Series,
    print: (name: string, labels: string, series: Series) => string,
  ): Metric<Series> {
    const head = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
    const metric = new Metric({ name, head, labelNames, relabel: this.relabel, make, print });
    this.metrics.push(metric);
    return metric;
  }
}

/** What goes with a key, made once. With more keys than there are series it is not kept, and made each time. */
export class Memo<Key, Value> {
  private readonly values = new Map<Key, Value>();

  get(key: Key, make: () => Value): Value {
    const known = this.values.get(key);
    if (known) return known;
    const made = make();
    if (this.values.size < MAX_SERIES) this.values.set(key, made);
    return made;
  }
}

/** Bytes. */
const SIZE_BOUNDS = [
  ...[2 ** 10, 2 ** 11, 2 ** 12, 2 ** 14, 2 ** 16, 2 ** 18, 2 ** 20, 2 ** 22],
  ...[2 ** 24, 2 ** 26, 2 ** 28, 2 ** 30, 2 ** 32],
];

const printTally = (name: string, labels: string, { value }: Tally): string => `${name}{${labels}} ${value}\n`;

const escaped = (value: string): string =>
  /["\\\n]/.test(value) ? value.replace(/["\\\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`)) : value;
