// Writing to a pipe completely, before anything else happens.
import { writeSync } from "node:fs";

const PAUSE_MS = 2;
const pause = new Int32Array(new SharedArrayBuffer(4));

/** Write all of `text`, a string, to a descriptor; waits while the pipe is full. */
export function writeAll(descriptor, text) {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(descriptor, bytes, written);
    } catch (error) {
      if (error.code !== "EAGAIN") throw error; // a program of the worker has made the pipe non-blocking
      Atomics.wait(pause, 0, 0, PAUSE_MS);
    }
  }
}
