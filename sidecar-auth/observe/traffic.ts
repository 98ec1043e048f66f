import type { Socket } from 'node:net';
import { Counter } from './meters.ts';
import type { Family, Labels, Sample } from './openmetrics.ts';

interface Session {
  labels: Labels;
  /** Octets of the app's socket that are counted already. */
  read: number;
  written: number;
}

/** The relay's sessions, and what they have carried so far. */
class Traffic {
  readonly #open = new Map<Socket, Session>();
  readonly #bytes = new Counter('postern_relay_bytes', 'Octets that the relay carried for applications.');

  /** `header`: octets of the socket that are no application's. */
  watch(app: Socket, labels: Labels, header: number): void {
    const session = { labels, read: header, written: 0 };
    this.#open.set(app, session);
    app.once('close', () => {
      this.#count(app, session);
      this.#open.delete(app);
    });
  }

  families(): Family[] {
    for (const [app, session] of this.#open) this.#count(app, session);
    const help = 'Sessions that run through the relay.';
    return [
      { name: 'postern_relay_open_sessions', type: 'gauge', help, samples: this.#running() },
      this.#bytes.family(),
    ];
  }

  keep(wanted: (labels: Labels) => boolean): void {
    this.#bytes.keep(wanted);
  }

  #count(app: Socket, session: Session): void {
    this.#bytes.add({ ...session.labels, direction: 'to_server' }, app.bytesRead - session.read);
    this.#bytes.add({ ...session.labels, direction: 'to_application' }, app.bytesWritten - session.written);
    session.read = app.bytesRead;
    session.written = app.bytesWritten;
  }

  #running(): Sample[] {
    const samples = new Map<string, Sample>();
    for (const { labels } of this.#open.values()) {
      const key = JSON.stringify(labels);
      const value = (samples.get(key)?.value ?? 0) + 1;
      samples.set(key, { labels, value });
    }
    return [...samples.values()];
  }
}

export const traffic = new Traffic();
