// A small MCP server, of the official library: by its pipes, or over HTTP where it is given a port.
import { createServer } from "node:http";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const text = (value) => ({ content: [{ type: "text", text: String(value) }] });

function numbers() {
  const server = new McpServer({ name: "numbers", version: "1" });
  const ab = { a: z.number(), b: z.number() };
  server.registerTool("add", { description: "Add two numbers.", inputSchema: ab }, ({ a, b }) => text(a + b));
  server.registerTool("halve", { inputSchema: { n: z.number() }, outputSchema: { half: z.number() } }, ({ n }) => ({
    ...text(n / 2),
    structuredContent: { half: n / 2 },
  }));
  server.registerTool("environment", { inputSchema: { name: z.string() } }, ({ name }) => text(process.env[name] ?? ""));
  server.registerTool("pid", {}, () => text(process.pid));
  server.registerTool("refuse", {}, () => ({ ...text("out of ink"), isError: true }));
  server.registerTool("sleep.long", {}, () => new Promise((resolve) => setTimeout(resolve, 600_000, text("rested"))));
  return server;
}

if (process.argv[2] === undefined) {
  await numbers().connect(new StdioServerTransport());
} else {
  createServer(async (request, response) => {
    const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
    await numbers().connect(transport);
    await transport.handleRequest(request, response);
  }).listen(Number(process.argv[2]), "127.0.0.1", () => console.log("listening"));
}
