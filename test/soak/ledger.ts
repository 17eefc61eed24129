/** The auditor: what was tried, acknowledged and handled, compared. A byte for each event, so that it can run for days. */

const TRIED = 1;
const ACKNOWLEDGED = 2;
const HANDLED = 4;
const DEAD = 8;
const REFUSED = 16;
/** How often it was handled, in the upper bits, up to 7. */
const TIMES = 32;

export class Ledger {
  private marks = new Uint8Array(65_536);
  private next = 0;
  /** Everything before it is accounted for. */
  private floor = 0;
  acknowledged = 0;
  /** Different events that were handled or went to the dead-letter topic. */
  handled = 0;
  /** How often one was handled that had been before. */
  duplicates = 0;
  /** Handled, though nobody ever published it. */
  readonly invented: number[] = [];
  /** The newest that was acknowledged, and handled. */
  newestAcknowledged = -1;
  newestHandled = -1;

  /** A number that was never used; its event is about to be published. */
  try(): number {
    const seq = this.next++;
    if (seq >= this.marks.length) {
      const larger = new Uint8Array(this.marks.length * 2);
      larger.set(this.marks);
      this.marks = larger;
    }
    this.marks[seq] = TRIED;
    return seq;
  }

  get tried(): number {
    return this.next;
  }

  acknowledge(seq: number): void {
    this.mark(seq, ACKNOWLEDGED);
    this.acknowledged++;
    this.newestAcknowledged = Math.max(this.newestAcknowledged, seq);
  }

  /** The publish failed; the event may be there all the same. */
  refuse(seq: number): void {
    this.mark(seq, REFUSED);
  }

  handle(seq: number, where: 'app' | 'dead-letter topic'): void {
    const mark = this.marks[seq];
    if (mark === undefined || (mark & TRIED) === 0) return void this.invented.push(seq);
    if (mark & (HANDLED | DEAD)) this.duplicates++;
    else this.handled++;
    this.mark(seq, where === 'app' ? HANDLED : DEAD);
    this.newestHandled = Math.max(this.newestHandled, seq);
    if (mark < 7 * TIMES) this.marks[seq] = (this.marks[seq] as number) + TIMES;
  }

  /** How often it was handled. */
  timesOf(seq: number): number {
    return Math.floor((this.marks[seq] ?? 0) / TIMES);
  }

  /** Whether it was acknowledged and is not handled. */
  isOpen(seq: number): boolean {
    const mark = this.marks[seq] ?? 0;
    return (mark & ACKNOWLEDGED) !== 0 && (mark & (HANDLED | DEAD)) === 0;
  }

  /** Those before `end` that are acknowledged and not handled, oldest first. */
  open(end = this.next): number[] {
    while (this.floor < this.next && (this.marks[this.floor] as number) & (HANDLED | DEAD | REFUSED)) this.floor++;
    const open: number[] = [];
    for (let seq = this.floor; seq < end; seq++) if (this.isOpen(seq)) open.push(seq);
    return open;
  }

  private mark(seq: number, bit: number): void {
    this.marks[seq] = (this.marks[seq] as number) | bit;
  }
}
