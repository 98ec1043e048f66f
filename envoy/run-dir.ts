import { join } from 'node:path';

/** What stands in the run directory (mode 0700, one per `postern up`): the meeting point of Envoy and sidecar-auth. */
export interface RunDirFiles {
  /** sidecar-auth's HTTP contract, docs/contract.md. */
  helperSocket: string;
  /** sidecar-auth's relay, docs/contract.md. */
  relaySocket: string;
  /** Envoy's admin interface; never on TCP, for it can end Envoy and shows its configuration. */
  adminSocket: string;
  /** Envoy's listeners, written by sidecar-auth and watched by Envoy: replace it by rename. The `.json` counts: Envoy goes by it. */
  listenersFile: string;
  /** Envoy's own configuration. */
  bootstrapFile: string;
  /** CAs for direct TLS. */
  caFile: string;
}

export function runDirFiles(runDir: string): RunDirFiles {
  return {
    helperSocket: join(runDir, 'helper.sock'),
    relaySocket: join(runDir, 'relay.sock'),
    adminSocket: join(runDir, 'admin.sock'),
    listenersFile: join(runDir, 'listeners.json'),
    bootstrapFile: join(runDir, 'envoy.json'),
    caFile: join(runDir, 'ca.pem'),
  };
}

/** The longest path of a Unix socket, in octets: sun_path holds 108 with the NUL at its end (unix(7)). */
export const MAX_SOCKET_PATH = 107;
