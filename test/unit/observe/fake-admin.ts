import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { tempFolder } from '../sidecar-auth/files.ts';

/** Envoy's admin interface with ready-made answers: by the path, up to its question mark. */
export class FakeAdmin {
  readonly socket = join(tempFolder(), 'admin.sock');
  readonly asked: string[] = [];
  /** Status and body; what is not there is never answered. */
  answers: Record<string, [number, string]> = {};

  static async start(answers: FakeAdmin['answers']): Promise<FakeAdmin> {
    const admin = new FakeAdmin();
    admin.answers = answers;
    const server = createServer((request, response) => {
      const url = request.url ?? '';
      admin.asked.push(url);
      const [status, body] = admin.answers[url.replace(/\?.*/, '')] ?? [];
      if (status !== undefined) response.writeHead(status).end(body);
    });
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    await once(server.listen(admin.socket), 'listening');
    return admin;
  }
}

/** What Envoy says when all is well. */
export function healthy(...listeners: string[]): FakeAdmin['answers'] {
  const statuses = listeners.map((name) => ({ name }));
  return {
    '/ready': [200, 'LIVE\n'],
    '/stats': [200, 'listener_manager.lds.update_rejected: 0\nlistener_manager.workers_started: 1\n'],
    '/listeners': [200, JSON.stringify({ listener_statuses: statuses })],
    '/stats/prometheus': [200, ''],
  };
}
