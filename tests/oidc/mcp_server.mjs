/*
 * mcp_server - a real MCP server (the official TypeScript SDK) with two tools, on loopback, that checks nothing itself.
 *
 *   node mcp_server.mjs PORT
 *
 * Serves /mcp, each request by itself (no session). Prints `ready`, then one line a tool that was called:
 * {"tool": NAME, "authorization": the field as it came or null}
 */
import { webcrypto } from 'node:crypto';
import { createServer } from 'node:http';

globalThis.crypto ??= webcrypto; // Node.js 18 does not have it by itself
const { McpServer } = await import('@modelcontextprotocol/sdk/server/mcp.js');
const { StreamableHTTPServerTransport } = await import('@modelcontextprotocol/sdk/server/streamableHttp.js');

function serverFor(request) {
  const server = new McpServer({ name: 'orders', version: '1.0.0' });
  for (const name of ['read_orders', 'delete_orders']) {
    server.registerTool(name, { description: `${name} of the shop` }, async () => {
      console.log(JSON.stringify({ tool: name, authorization: request.headers.authorization ?? null }));
      return { content: [{ type: 'text', text: `${name}: done` }] };
    });
  }
  return server;
}

createServer(async (request, response) => {
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: undefined });
  const server = serverFor(request);
  response.on('close', () => {
    transport.close();
    server.close();
  });
  await server.connect(transport);
  await transport.handleRequest(request, response);
}).listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
