/*
 * provider - a real OpenID provider (oidc-provider) for tollgate's tests.
 *
 * Issues access tokens by the client credentials grant with a resource indicator (RFC 8707). The resource chooses how its
 * tokens are signed: urn:test:rs256, urn:test:es256, urn:test:eddsa and any URL give `typ: at+jwt` (RFC 9068),
 * urn:test:opaque gives an opaque one.
 *
 *   node provider.mjs PORT [KEYS.json [ISSUER]]
 *
 * $CLIENTS: a JSON file with a list of more clients, as metadata; `pem` (a file) and `kid` stand for the `jwks` of one that
 * shows itself by a key.
 *
 * KEYS.json: a file with the private key set; made when absent. Starting again with the same file keeps the keys, with
 * another one is a rotation. ISSUER: its public URL, when it stands behind a proxy that speaks TLS for it. Prints `ready`
 * when it serves.
 */
import { createPublicKey } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';
import * as serviceUsers from './service_users.mjs';

const port = Number(process.argv[2]);
const keysFile = process.argv[3];
const issuer = process.argv[4] ?? `http://127.0.0.1:${port}`;

const RESOURCES = { 'urn:test:rs256': 'RS256', 'urn:test:es256': 'ES256', 'urn:test:eddsa': 'EdDSA', 'urn:test:opaque': null };
const CLIENTS = [
  { id: 'robot', claims: { email: 'robot@corp.example', tier: 'gold', groups: ['machines'] } },
  { id: 'stranger', claims: { email: 'stranger@elsewhere.example' } },
];

async function makeKey(alg, options) {
  const { privateKey } = await generateKeyPair(alg, { extractable: true, ...options });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, alg, use: 'sig', kid: `${alg}-${Math.random().toString(36).slice(2, 10)}` };
}

async function privateKeys() {
  if (keysFile && existsSync(keysFile)) return JSON.parse(readFileSync(keysFile, 'utf8'));
  const keys = [await makeKey('RS256'), await makeKey('ES256'), await makeKey('EdDSA', { crv: 'Ed25519' })];
  if (keysFile) writeFileSync(keysFile, JSON.stringify({ keys }), { mode: 0o600 });
  return { keys };
}

function moreClients() {
  if (!process.env.CLIENTS) return [];
  return JSON.parse(readFileSync(process.env.CLIENTS, 'utf8')).map(({ pem, kid, ...metadata }) => ({
    redirect_uris: [],
    response_types: [],
    grant_types: ['client_credentials'],
    ...metadata,
    ...(pem ? { jwks: { keys: [{ ...createPublicKey(readFileSync(pem)).export({ format: 'jwk' }), kid, use: 'sig' }] } } : {}),
  }));
}

function getResourceServerInfo(_ctx, resource) {
  const alg = resource in RESOURCES ? RESOURCES[resource] : 'ES256'; // else a URL: an MCP server names itself so
  return {
    scope: 'api',
    audience: resource,
    accessTokenTTL: serviceUsers.ttl,
    accessTokenFormat: alg ? 'jwt' : 'opaque',
    ...(alg ? { jwt: { sign: { alg } } } : {}),
  };
}

const provider = new Provider(issuer, {
  jwks: await privateKeys(),
  clients: [
    ...CLIENTS.map(({ id }) => ({
      client_id: id,
      client_secret: `${id}-secret`,
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    })),
    ...moreClients(),
    ...serviceUsers.clients,
  ],
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  enabledJWA: {
    idTokenSigningAlgValues: ['RS256', 'ES256', 'EdDSA'],
    requestObjectSigningAlgValues: ['RS256'],
    clientAuthSigningAlgValues: ['RS256'],
    userinfoSigningAlgValues: ['RS256'],
    introspectionSigningAlgValues: ['RS256'],
    authorizationSigningAlgValues: ['RS256'],
  },
  features: {
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo,
    },
  },
  extraTokenClaims(_ctx, token) {
    // client_credentials tokens have no user: signed ones name the client as "sub", opaque ones as "client_id" only.
    return CLIENTS.find(({ id }) => id === token.clientId)?.claims;
  },
});
provider.proxy = Boolean(process.argv[4]); // then X-Forwarded-Proto and -Host are believed
serviceUsers.register(provider, getResourceServerInfo);
provider.listen(port, '127.0.0.1', () => console.log('ready'));
