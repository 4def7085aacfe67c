// What ends a run early, as errors of the worker's process.

/** The run is to stop. Thrown in the worker, which may clean up and must let it pass. */
export class Cancelled extends Error {
  name = "Cancelled";

  constructor(message = "The run was cancelled.") {
    super(message);
  }
}

/** Throw it to fail the run with a message for its user, without a stack. */
export class Failure extends Error {
  name = "Failure";

  constructor(message, { retryable = false, ...options } = {}) {
    super(message, options);
    this.retryable = retryable;
  }
}

/** The worker has asked its user a question; this process ends until the answer is there. */
export class Suspended extends Error {
  name = "Suspended";

  constructor() {
    super("The run waits for its user, and this process ends; let this error pass.");
  }
}
