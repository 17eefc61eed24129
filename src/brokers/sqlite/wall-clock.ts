/** How far the wall clock may fall behind before that counts: slewing is slower, and what waits comes so much later. */
const STEP_MS = 1000;

/** Notices that the wall clock was set back, by comparison with one that only runs on. */
export class WallClock {
  private readonly wall: () => number;
  private readonly steady: () => number;
  private ahead: number;

  constructor(wall: () => number = Date.now, steady: () => number = () => performance.now()) {
    this.wall = wall;
    this.steady = steady;
    this.ahead = this.difference;
  }

  /** Whether it was set back since `accept`. A machine that slept looks like a clock that was set forward: no. */
  get wasSetBack(): boolean {
    const { difference } = this;
    this.ahead = Math.max(this.ahead, difference);
    return this.ahead - difference >= STEP_MS;
  }

  /** From now on the clock is right as it is. */
  accept(): void {
    this.ahead = this.difference;
  }

  private get difference(): number {
    return this.wall() - this.steady();
  }
}
