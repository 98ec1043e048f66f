import { readFileSync } from 'node:fs';
import { askAdmin, envoyState } from '../../envoy/admin.ts';

/** Milliseconds for each answer of Envoy: whoever probes waits a second or a few. */
const ENVOY_MS = 1_000;
/** Listeners that are named. */
const NAMED = 5;

/** What sidecar-auth knows of itself. */
export interface Progress {
  /** The configuration is read, both sockets accept. */
  started: boolean;
  /** What is in force stands in Envoy's listeners file. */
  written: boolean;
  /** The end has begun: new connections are to go elsewhere. */
  draining: boolean;
}

export interface EnvoyPlace {
  /** Envoy's admin interface. */
  adminSocket: string;
  listenersFile: string;
}

/** Why no application should come here now. */
export class Readiness {
  readonly #progress: () => Progress;
  readonly #envoy: EnvoyPlace | undefined;
  /** Envoy had every listener open that was written. */
  #hadAll = false;

  /** Without `envoy` its state is not known here, and not looked at. */
  constructor(progress: () => Progress, envoy?: EnvoyPlace) {
    this.#progress = progress;
    this.#envoy = envoy;
  }

  /** Empty where applications may come. */
  async reasons(): Promise<string[]> {
    const { started, written, draining } = this.#progress();
    const own = [
      ...(draining ? ['it is draining'] : []),
      ...(started ? [] : ['sidecar-auth is starting']),
      ...(written ? [] : ["Envoy's listeners are not written"]),
    ];
    return own.length > 0 || !this.#envoy ? own : await this.#ofEnvoy(this.#envoy);
  }

  /**
   * Strict at first: every listener that is written must be open. After that a new one that is not open yet, or that Envoy refuses, must not
   * take the others out of service, on all replicas at once.
   */
  async #ofEnvoy({ adminSocket, listenersFile }: EnvoyPlace): Promise<string[]> {
    try {
      // 200 only where it is LIVE: neither starting nor draining (after POST /healthcheck/fail).
      await askAdmin(adminSocket, '/ready', ENVOY_MS);
      const { started, listeners } = await envoyState(adminSocket, ENVOY_MS);
      if (!started) throw new Error("Envoy's workers have not started");
      const missing = this.#hadAll ? [] : writtenListeners(listenersFile).filter((name) => !listeners.has(name));
      this.#hadAll = missing.length === 0;
      return shown(missing);
    } catch (error) {
      this.#hadAll = false;
      const { code, message } = error as NodeJS.ErrnoException;
      return [code === undefined ? message : `Envoy does not answer (${code})`];
    }
  }
}

function writtenListeners(file: string): string[] {
  const { resources } = JSON.parse(readFileSync(file, 'utf8')) as { resources: { name: string }[] };
  return resources.map(({ name }) => name);
}

function shown(names: string[]): string[] {
  const first = names.slice(0, NAMED).map((name) => `Envoy has not opened ${name}`);
  return names.length > NAMED ? [...first, `nor ${names.length - NAMED} more`] : first;
}
