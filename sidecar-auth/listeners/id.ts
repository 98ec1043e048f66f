import { createHash } from 'node:crypto';
import { type Address, addressText } from '../config/address.ts';
import type { Config } from '../config/config.ts';
import type { Protocol } from '../failure.ts';
import type { Entry } from '../route/table.ts';

/** 64 bits of the address's hash: the opaque part of a listener id. */
export function addressHash(address: Address): string {
  return createHash('sha256').update(addressText(address)).digest('hex').slice(0, 16);
}

/**
 * Which protocol each address speaks (by hash). A listener whose destination is gone keeps the one it had; one whose
 * destination was never there has none, and can't be opened.
 */
export function protocols(config: Config, before: ReadonlyMap<string, Protocol>): Map<string, Protocol> {
  const now = new Map<string, Protocol>();
  for (const { address, destination, protocol: said } of config.listeners) {
    const hash = addressHash(address);
    const protocol = config.destinations.get(destination)?.protocol ?? said ?? before.get(hash);
    if (protocol) now.set(hash, protocol);
  }
  return now;
}

/** The protocols in an earlier run's listeners file: what Envoy has open while sidecar-auth starts again. */
export function protocolsOf(listenersFile: string): Map<string, Protocol> {
  const ids = listenersFile.matchAll(/"(smtp|imap|pop3):([0-9a-f]{16})"/g);
  return new Map([...ids].map(([, protocol, hash]) => [hash ?? '', protocol as Protocol]));
}

/**
 * What each listener stands for. The id depends on protocol and address only, so that a changed destination, app or password
 * never changes Envoy's configuration, which would drain the listener.
 */
export function entries(config: Config, spoken: ReadonlyMap<string, Protocol>): Entry[] {
  return config.listeners.flatMap(({ key: _, ...listener }): Entry[] => {
    const hash = addressHash(listener.address);
    const protocol = spoken.get(hash);
    if (!protocol) return [];
    const destination = config.destinations.get(listener.destination);
    const { connectivity, loginTimeout } = config;
    return [
      {
        listenerId: `${protocol}:${hash}`,
        listener,
        protocol,
        ...(destination && { destination }),
        // What the Destination service will say of the destination is not known yet.
        ...((destination?.onPremise || config.services.length > 0) && connectivity && { connectivity }),
        loginTimeout,
      },
    ];
  });
}
