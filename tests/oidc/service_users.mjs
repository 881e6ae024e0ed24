/*
 * service_users - what the provider needs for those that ask for tokens as tollgate does: the grant of RFC 7523 §2.1 as
 * ZITADEL's service users use it, and counting what was asked.
 *
 * SERVICE_USERS names a JSON file: {ttl, users: {ID: {KEY_ID: PEM}}}. The grant needs no client: the assertion alone says
 * who asks, and its claims are checked as ZITADEL does.
 *   GET /_count      how often a token was asked for: {count, refused}
 *   GET /_assertion  header and claims of the last assertion that was taken, of either kind
 */
import { readFileSync } from 'node:fs';
import querystring from 'node:querystring';
import { decodeJwt, decodeProtectedHeader, importSPKI, jwtVerify } from 'jose';
import { errors } from 'oidc-provider';

const GRANT = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
const ANONYMOUS = 'service-users'; // the client behind the grant

const file = process.env.SERVICE_USERS;
const settings = file ? JSON.parse(readFileSync(file, 'utf8')) : { users: {} };
export const ttl = settings.ttl ?? 600;
export const clients = file ? [
  { client_id: ANONYMOUS, token_endpoint_auth_method: 'none', grant_types: [GRANT], redirect_uris: [], response_types: [] },
] : [];

const seen = { count: 0, refused: 0, assertion: null };
const keep = (jwt) => { seen.assertion = { header: decodeProtectedHeader(jwt), claims: decodeJwt(jwt) }; };

async function read(req) {
  const parts = [];
  for await (const part of req) parts.push(part);
  return querystring.parse(Buffer.concat(parts).toString());
}

async function watch(ctx, next) {
  if (ctx.path === '/_count') { ctx.body = { count: seen.count, refused: seen.refused }; return; }
  if (ctx.path === '/_assertion') { ctx.body = seen.assertion; return; }
  if (ctx.path !== '/token') { await next(); return; }
  seen.count += 1;
  const body = await read(ctx.req);
  if (body.grant_type === GRANT && !body.client_id) body.client_id = ANONYMOUS;
  ctx.req.body = body;
  await next();
  if (ctx.status !== 200) seen.refused += 1;
  else if (body.client_assertion) keep(body.client_assertion);
}

/* The user's own key by kid, iss and sub equal, aud the issuer to the last byte, not older than an hour. */
async function check(issuer, jwt) {
  const { kid } = decodeProtectedHeader(jwt);
  const { iss, sub } = decodeJwt(jwt);
  const pem = settings.users[iss]?.[kid];

  if (!pem || iss !== sub) throw new errors.InvalidGrant('delegation not allowed');
  await jwtVerify(jwt, await importSPKI(pem, 'RS256'), {
    algorithms: ['RS256'], issuer: iss, audience: issuer, maxTokenAge: '1h', requiredClaims: ['exp', 'iat'],
  });
  keep(jwt);
}

export function register(provider, resourceServerInfo) {
  if (!file) return;
  const assertions = new Set();

  provider.use(watch);
  provider.registerGrantType(GRANT, async (ctx, next) => {
    const { assertion, resource, scope = '' } = ctx.oidc.params;
    if (!scope.split(' ').includes('openid')) throw new errors.InvalidScope('openid is mandatory', scope);
    if (assertions.has(assertion)) throw new errors.InvalidGrant('an assertion is used once');
    try {
      await check(provider.issuer, assertion);
    } catch (e) {
      throw e instanceof errors.InvalidGrant ? e : new errors.InvalidGrant('assertion');
    }
    assertions.add(assertion);
    const token = new provider.ClientCredentials({ client: ctx.oidc.client, scope: 'api' });
    token.resourceServer = new provider.ResourceServer(resource, resourceServerInfo(ctx, resource));
    ctx.oidc.entity('ClientCredentials', token);
    const value = await token.save();
    ctx.body = { access_token: value, expires_in: token.expiration, token_type: 'Bearer', scope: token.scope };
    await next();
  }, ['assertion', 'scope', 'resource']);
}
