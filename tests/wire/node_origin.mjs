/* node_origin - Node's HTTP parser as an origin: one JSON line for every request it sees, whole. */
import { createHash } from 'node:crypto';
import { createServer } from 'node:http';

const server = createServer((request, response) => {
  const digest = createHash('sha256');
  let length = 0;
  request.on('data', (piece) => { digest.update(piece); length += piece.length; });
  request.on('end', () => {
    const line = JSON.stringify({ method: request.method, target: request.url, length, sha256: digest.digest('hex') });
    process.stdout.write(`${line}\n`);
    response.setHeader('Content-Type', 'application/json');
    response.end(line);
  });
});
server.on('clientError', (error, socket) => {
  process.stdout.write(`${JSON.stringify({ error: error.code })}\n`);
  socket.destroy();
});
server.listen(Number(process.argv[2]), '127.0.0.1', () => process.stdout.write('ready\n'));
