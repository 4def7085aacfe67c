const FIRST = 1000;
const LONGEST = 8000;

/** What is known of a query: its data, and how often they were read. */
interface Read {
  data: unknown;
  dataUpdateCount: number;
}

/** How long until something that is under way is read again, in milliseconds: longer each time that nothing has changed. */
export class Pauses {
  private last: Read = { data: undefined, dataUpdateCount: 0 };
  private pause = FIRST;

  after({ data, dataUpdateCount }: Read): number {
    if (dataUpdateCount !== this.last.dataUpdateCount) {
      this.pause = data === this.last.data ? Math.min(this.pause * 2, LONGEST) : FIRST;
      this.last = { data, dataUpdateCount };
    }
    return this.pause;
  }
}
