import { setTimeout } from 'node:timers/promises';
import { clean, Failure } from '../sidecar-auth/failure.ts';
import { AuthorizationPending, type IssuedTokens, SlowDown } from '../sidecar-auth/token/request.ts';
import type { Consent } from './login-browser.ts';
import { StartFailure } from './start-failure.ts';

/** Seconds between questions where the server does not say, and more for each time that it wants fewer (RFC 8628 section 3.5). */
const INTERVAL_S = 5;

/** What a server may ask for: less would be a flood (setTimeout takes what is too long for nothing at all), more and nobody waits. */
const SHORTEST_S = 1;
const LONGEST_S = 60;

/**
 * A code for a browser on any device (RFC 8628).
 * @param wait waits so many milliseconds; for tests
 * @throws StartFailure when the code has expired
 * @throws Failure of the token service
 */
export async function consentByDevice(
  { client, say }: Consent,
  endpoint: string,
  wait: (ms: number) => Promise<unknown> = setTimeout,
): Promise<IssuedTokens> {
  const device = await client.authorizeDevice(endpoint);
  say(`open ${page(device.verification_uri)} in any browser and enter the code ${clean(device.user_code, 60)}`);
  if (device.verification_uri_complete) say(`or open ${page(device.verification_uri_complete)}`);
  const end = Date.now() + device.expires_in * 1000;
  let seconds = Math.min(Math.max(device.interval ?? INTERVAL_S, SHORTEST_S), LONGEST_S);
  while (Date.now() < end) {
    await wait(seconds * 1000);
    try {
      return await client.redeemDevice(device.device_code);
    } catch (error) {
      seconds = slower(seconds, error);
    }
  }
  throw new StartFailure('the code has expired before anyone entered it');
}

/**
 * RFC 8628 section 3.5: five seconds more where the server wants it, twice as many where it did not answer.
 * @throws what does not pass by itself
 */
function slower(seconds: number, error: unknown): number {
  if (error instanceof SlowDown) return seconds + INTERVAL_S;
  if (error instanceof AuthorizationPending) return seconds;
  if (error instanceof Failure && error.retry) return Math.max(seconds, Math.min(2 * seconds, LONGEST_S));
  throw error;
}

/** As a terminal may see it: the URL parser encodes control characters. */
function page(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url?.protocol === 'https:' || url?.protocol === 'http:') return url.href;
  throw new StartFailure('the verification_uri of the token service is not an http or https URL');
}
