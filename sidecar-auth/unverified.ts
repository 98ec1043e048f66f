import type { Destination } from './destination/destination.ts';

/** Says that anyone between here and the mail server can read this destination's credentials and mail. */
export function warnUnverified(
  log: { warn(details: object, text: string): void },
  { name, host, port }: Destination,
  tenant?: string,
): void {
  log.warn(
    { destination: name, ...(tenant !== undefined && { tenant }), host, port },
    "ssl.trust is *: the mail server's certificate is not verified; for a CA of your own use tls.additionalCAs",
  );
}
