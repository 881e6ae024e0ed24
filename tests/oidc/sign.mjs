/*
 * sign - a second signer: jose makes keys and tokens, one JSON request a line on stdin, one JSON answer a line.
 *
 *   {"op": "key", "alg": "ES256", "kid": "a"}                               -> {"private": {...}, "public": {...}}
 *   {"op": "sign", "key": {...}, "header": {...}, "claims": {...}}          -> {"token": "..."}
 *   {"op": "verify", "jwks": {"keys": [...]}, "token": "...", "algs": [...]} -> {"ok": true | false, "why": "..."}
 */
import { createInterface } from 'node:readline';
import { SignJWT, createLocalJWKSet, exportJWK, generateKeyPair, importJWK, jwtVerify } from 'jose';

const operations = {
  async key({ alg, kid }) {
    const options = alg === 'EdDSA' ? { crv: 'Ed25519' } : {};
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true, modulusLength: 2048, ...options });
    const marks = { alg, use: 'sig', ...(kid ? { kid } : {}) };
    return { private: { ...(await exportJWK(privateKey)), ...marks }, public: { ...(await exportJWK(publicKey)), ...marks } };
  },
  async sign({ key, header, claims }) {
    const token = new SignJWT(claims).setProtectedHeader(header);
    return { token: await token.sign(await importJWK(key, header.alg)) };
  },
  async verify({ jwks, token, algs }) {
    try {
      await jwtVerify(token, createLocalJWKSet(jwks), { algorithms: algs });
      return { ok: true };
    } catch (e) {
      return { ok: false, why: e.code ?? e.message };
    }
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  let answer;
  try {
    const request = JSON.parse(line);
    answer = await operations[request.op](request);
  } catch (e) {
    answer = { error: e.message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
