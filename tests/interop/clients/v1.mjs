// The TypeScript SDK, version 1: the handshake era only.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { task, visit } from "./visit.mjs";

const [command, ...args] = task.command;
const transport = command
  ? new StdioClientTransport({ command, args, env: task.env })
  : new StreamableHTTPClientTransport(new URL(task.url), {
      requestInit: { headers: { Authorization: `Bearer ${task.bearer}` } },
    });
const client = new Client({ name: "interop-v1", version: "1" });
let version = null; // the transport of STDIO is never told
transport.setProtocolVersion ??= (settled) => (version = settled);
await visit(
  client,
  transport,
  () => transport.protocolVersion ?? version,
  (call, options) => client.callTool(call, undefined, options),
);
