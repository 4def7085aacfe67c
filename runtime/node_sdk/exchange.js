// What a run asks its pool, and what it is answered.

/** The type of an answer → that of what it answers. */
const ASKED = {
  saved: "save",
  message: "inbox",
  called: "call",
  delta: "call",
  question: "call",
  result: "call",
};

/** Pairs the lines that a run writes with the pool's answers. */
export class Exchange {
  #write;
  #expected = new Map();
  #ended = null;

  /** `write` takes a line, with its end. */
  constructor(write) {
    this.#write = write;
  }

  /** Write an event as a line. */
  write(event) {
    this.#write(`${JSON.stringify(event)}\n`);
  }

  /** Write an event, and wait for its answer; `type` and `key` are by what it is expected. Rejects with Cancelled. */
  ask(event, type, key = "") {
    return new Promise((resolve, reject) => {
      const done = (settle) => (value) => {
        this.forget(type, key);
        settle(value);
      };
      this.listen(type, key, done(resolve), done(reject));
      if (this.#ended) done(reject)(this.#ended);
      else this.write(event);
    });
  }

  /** Have `receive` called with each line that answers this, until `forget`; `stop` where there will be none. */
  listen(type, key, receive, stop) {
    const tag = `${type} ${key}`;
    if (this.#expected.has(tag)) throw new Error(`${JSON.stringify(key || type)} is under way already`);
    this.#expected.set(tag, { receive, stop });
  }

  forget(type, key) {
    this.#expected.delete(`${type} ${key}`);
  }

  /** A line of the pool has come. */
  receive(fields) {
    const type = ASKED[fields.type] ?? fields.of;
    const key = (type === "call" ? fields.id : fields.key) ?? "";
    this.#expected.get(`${type} ${key}`)?.receive(fields);
  }

  /** The run is to stop: whoever waits is told `error`. `isLast`: nothing can be answered any more. */
  stop(error, isLast) {
    if (isLast) this.#ended = error;
    for (const { stop } of [...this.#expected.values()]) stop(error);
  }
}
