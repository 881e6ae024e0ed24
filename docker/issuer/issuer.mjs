/*
 * issuer - a real OpenID provider (oidc-provider) for tollgate's compose example.
 *
 * Gives access tokens by the client credentials grant for the resource urn:example:app, signed with ES256. Who asks
 * decides what is in them: `robot` has an address at example.com, `stranger` one elsewhere, `trial` is on a small plan;
 * each one's secret is its name and `-secret`. Keys are made at every start.
 *
 *   [ISSUER=http://issuer:4000] [PORT=4000] node issuer.mjs
 */
import { exportJWK, generateKeyPair } from 'jose';
import Provider from 'oidc-provider';

const issuer = process.env.ISSUER ?? 'http://issuer:4000';
const port = Number(process.env.PORT ?? 4000);
const CLIENTS = {
  robot: { email: 'robot@example.com' },
  stranger: { email: 'stranger@elsewhere.example' },
  trial: { email: 'trial@example.com', plan: 'trial' },
};

const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const key = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: `es256-${Date.now()}` };

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  clients: Object.keys(CLIENTS).map((id) => ({
    client_id: id,
    client_secret: `${id}-secret`,
    grant_types: ['client_credentials'],
    id_token_signed_response_alg: 'ES256',
    redirect_uris: [],
    response_types: [],
  })),
  clientAuthMethods: ['client_secret_basic', 'client_secret_post'],
  enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo(_ctx, resource) {
        return {
          scope: 'api',
          audience: resource,
          accessTokenTTL: 600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        };
      },
    },
  },
  extraTokenClaims(_ctx, token) {
    return CLIENTS[token.clientId];
  },
});
const server = provider.listen(port, () => console.log('ready'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.close(() => process.exit(0)));
