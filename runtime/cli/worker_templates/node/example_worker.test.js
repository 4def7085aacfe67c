// The worker, executed without a server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { execute } from "branchline/testing";

import worker from "./example_worker.js";

test("it answers with a greeting", async () => {
  const result = await execute(worker, "hi", { config: { greeting: "Good morning" } });
  assert.equal(result.status, "success");
  assert.equal(result.text, "Good morning! You said: hi");
});
