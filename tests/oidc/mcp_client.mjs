/*
 * mcp_client - the official MCP client (TypeScript SDK) of somebody who knows the server's URL and a client secret.
 *
 *   node mcp_client.mjs URL CLIENT_ID TOOL...
 *
 * It finds the authorization server by RFC 9728, gets a token by client credentials, lists the tools and calls each
 * TOOL. Prints one JSON object: {"asked": ["METHOD URL STATUS"...], "tools": [...], "calls": {TOOL: text or {"status"}}},
 * or {"asked", "error"} when it does not get that far.
 */
import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto; // Node.js 18 does not have it by itself
const { Client } = await import('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = await import('@modelcontextprotocol/sdk/client/streamableHttp.js');
const { ClientCredentialsProvider } = await import('@modelcontextprotocol/sdk/client/auth-extensions.js');

const [url, clientId, ...tools] = process.argv.slice(2);
const said = { asked: [], calls: {} };

async function watched(input, init) {
  const response = await fetch(input, init);
  said.asked.push(`${init?.method ?? 'GET'} ${input} ${response.status}`);
  return response;
}

const client = new Client({ name: 'tester', version: '1.0.0' });
try {
  const authProvider = new ClientCredentialsProvider({ clientId, clientSecret: `${clientId}-secret` });
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { authProvider, fetch: watched }));
  said.tools = (await client.listTools()).tools.map(({ name }) => name);
  for (const name of tools) {
    try {
      said.calls[name] = (await client.callTool({ name, arguments: {} })).content[0].text;
    } catch (e) {
      said.calls[name] = { status: e.code ?? null };
    }
  }
  await client.close();
} catch (e) {
  said.error = `${e.name} ${e.code ?? ''}: ${e.message}`;
}
console.log(JSON.stringify(said));
process.exit(0);
