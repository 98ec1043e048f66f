import { request } from 'node:http';

/** Milliseconds for one answer of Envoy's admin interface; its main thread may be busy with compiling the filter. */
const ANSWER_TIMEOUT = 10_000;

/** Asks Envoy's admin interface on its Unix socket. @throws Error when it does not answer with 200 */
export function askAdmin(socketPath: string, path: string, timeout = ANSWER_TIMEOUT): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, timeout, agent: false }, (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        if (response.statusCode === 200) resolve(body);
        else reject(new Error(`Envoy answers ${response.statusCode} to ${path}`));
      });
    });
    asked.on('timeout', () => asked.destroy(new Error(`Envoy does not answer to ${path}`)));
    asked.on('error', reject);
    asked.end();
  });
}

export interface EnvoyState {
  /** Workers run: sockets accept. */
  started: boolean;
  /** Envoy read the listeners' file and refused at least one listener; its log says which and why. */
  refused: boolean;
  listeners: Set<string>;
}

export async function envoyState(socketPath: string, timeout = ANSWER_TIMEOUT): Promise<EnvoyState> {
  const stats = await askAdmin(
    socketPath,
    '/stats?filter=^listener_manager%5C.(workers_started|lds%5C.update_rejected)$',
    timeout,
  );
  const { listener_statuses: statuses = [] } = JSON.parse(
    await askAdmin(socketPath, '/listeners?format=json', timeout),
  ) as { listener_statuses?: { name: string }[] };
  return {
    started: stats.includes('workers_started: 1'),
    refused: /update_rejected: [1-9]/.test(stats),
    listeners: new Set(statuses.map((listener) => listener.name)),
  };
}
