// The run is the first line of the input; each line of the output is an event.
import { createInterface } from "node:readline";

const send = (event) => process.stdout.write(JSON.stringify(event) + "\n");

for await (const line of createInterface({ input: process.stdin })) {
  const message = JSON.parse(line);
  if (message.type === "cancel") process.exit(1);
  send({ type: "delta", text: `${message.config.greeting}! ` });
  send({ type: "delta", text: `You said: ${message.messages.at(-1).content}` });
  send({ type: "done" });
  process.exit(0);
}
