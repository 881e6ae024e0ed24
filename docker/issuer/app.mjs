/*
 * app - an HTTP service without any auth code, for tollgate's compose example: says what it was asked.
 *
 *   [PORT=3000] node app.mjs
 */
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  response.setHeader('Content-Type', 'application/json');
  const { method, url, headers } = request;
  response.end(`${JSON.stringify({ method, path: url, forwarded_for: headers['x-forwarded-for'] })}\n`);
});
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => console.log('ready'));
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.close(() => process.exit(0)));
