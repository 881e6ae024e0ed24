/*
 * fields - a second reader of structured fields (RFC 9651): structured-headers, one JSON value a line on stdin, one
 * JSON answer a line: {"items": [[{"string": "..."} | {"other": "..."}, {"name": number | "type"}]], "same": the
 * canonical text is the one that was read} or {"why": "..."}.
 */
import { createInterface } from 'node:readline';
import { parseList, serializeList } from 'structured-headers';

const parameter = (v) => (Number.isInteger(v) ? v : Array.isArray(v) ? 'list' : (v?.constructor?.name ?? typeof v));
const item = ([value, parameters]) => [
  typeof value === 'string' ? { string: value } : { other: Array.isArray(value) ? 'inner list' : typeof value },
  Object.fromEntries([...parameters].map(([name, v]) => [name, parameter(v)])),
];

for await (const line of createInterface({ input: process.stdin })) {
  const text = JSON.parse(line);
  let answer;
  try {
    const list = parseList(text);
    answer = { items: list.map(item), same: serializeList(list) === text };
  } catch (e) {
    answer = { why: e.message };
  }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
