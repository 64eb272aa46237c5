// The TypeScript SDK, version 2: both eras.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";
import { task, visit } from "./visit.mjs";

const [command, ...args] = task.command;
const transport = command
  ? new StdioClientTransport({ command, args, env: task.env })
  : new StreamableHTTPClientTransport(new URL(task.url), {
      requestInit: { headers: { Authorization: `Bearer ${task.bearer}` } },
    });
const mode = ["legacy", "auto"].includes(task.mode) ? task.mode : { pin: task.mode };
const client = new Client({ name: "interop-v2", version: "1" }, { versionNegotiation: { mode } });
await visit(
  client,
  transport,
  () => client.getNegotiatedProtocolVersion(),
  (call, options) => client.callTool(call, options),
);
