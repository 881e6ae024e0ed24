/*
 * openapi - a second judge of the management API's description: @seriousme/openapi-schema-validator, a document on
 * stdin, {"valid", "version", "errors"} on stdout.
 */
import { readFileSync } from 'node:fs';
import { Validator } from '@seriousme/openapi-schema-validator';

const validator = new Validator();
const { valid, errors } = await validator.validate(JSON.parse(readFileSync(0, 'utf8')));
process.stdout.write(JSON.stringify({ valid, version: validator.version, errors: errors ?? null }) + '\n');
