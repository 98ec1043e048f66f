import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { addressHash } from '../../../sidecar-auth/listeners/id.ts';

/** What the filter is told of the SMTP listener at this port of 127.0.0.1, decoded. */
export function session(runDir: string, port: number): Promise<string> {
  const id = `smtp:${addressHash({ host: '127.0.0.1', port })}`;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const asked = request(
    { socketPath: join(runDir, 'helper.sock'), path: '/v1/sessions', method: 'POST' },
    (response) => {
      let body = '';
      response.on('data', (chunk) => {
        body += chunk;
      });
      response.on('end', () =>
        resolve(body.replace(/: (.*)$/gm, (_, value) => `: ${Buffer.from(value, 'base64').toString()}`)),
      );
    },
  );
  asked.on('error', reject);
  asked.end(`listener: ${Buffer.from(id).toString('base64')}\n`);
  return promise;
}

/** Envoy's listeners file. */
export function listening(runDir: string): string {
  return readFileSync(join(runDir, 'listeners.json'), 'utf8');
}
