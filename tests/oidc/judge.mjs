/*
 * judge - a second judge of tokens: oauth4webapi as a resource server, jose for tokens outside RFC 9068.
 *
 * One JSON request a line on stdin, one JSON answer a line: {"ok": true} or {"ok": false, "why": "..."}.
 *
 *   {"op": "access", "issuer", "audience", "jwks", "scheme", "token", "method", "url", "proofs": [...]}
 *       an access token by RFC 9068 and RFC 6750, with its proofs by RFC 9449
 *   {"op": "jwt", "issuer", "audience", "jwks", "token", "algs": [...]}
 *       a JWT by RFC 7519 that has exp and sub
 */
import { webcrypto } from 'node:crypto';
import { createInterface } from 'node:readline';

globalThis.crypto ??= webcrypto; // Node.js 18 does not have it by itself
const { createLocalJWKSet, jwtVerify } = await import('jose');
const oauth = await import('oauth4webapi');

const judges = {
  async access({ issuer, audience, jwks, scheme, token, method, url, proofs }) {
    const headers = new Headers({ authorization: `${scheme} ${token}` });
    for (const proof of proofs ?? []) headers.append('dpop', proof);
    const server = { issuer, jwks_uri: `${issuer}/jwks` };
    await oauth.validateJwtAccessToken(server, new Request(url, { method, headers }), audience, {
      [oauth.customFetch]: async () => Response.json(jwks),
    });
  },
  async jwt({ issuer, audience, jwks, token, algs }) {
    await jwtVerify(token, createLocalJWKSet(jwks), {
      issuer,
      audience,
      algorithms: algs,
      requiredClaims: ['exp', 'sub'],
    });
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer = { ok: true };
  try {
    const request = JSON.parse(line);
    await judges[request.op](request);
  } catch (e) {
    answer = { ok: false, why: `${e.code ?? e.name}: ${e.message}` };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
