/**
 * A helper of its own process for file-issuer.test.ts: takes { folder, destination } as its first argument, and for each line
 * `USER TOKEN` on standard input says the access token, or `! ` and the failure. It ends with its parent.
 */
import { createInterface } from 'node:readline';
import { issuerIn } from './world-issuer.ts';

const { folder, destination } = JSON.parse(process.argv[2] ?? '{}');
const issuer = issuerIn(folder, destination);
for await (const line of createInterface({ input: process.stdin })) {
  const [user = '', token = ''] = line.split(' ');
  const answer = await issuer.exchange?.(user, token).then(
    ({ value }) => value,
    ({ message }) => `! ${message}`,
  );
  process.stdout.write(`${answer}\n`);
}
