import { setTimeout } from 'node:timers/promises';
import { AuthorizationPending, type IssuedTokens, SlowDown } from '../sidecar-auth/token/request.ts';
import type { Consent } from './login-browser.ts';
import { StartFailure } from './start-failure.ts';

/** Seconds between questions where the server does not say, and more for each time that it wants fewer (RFC 8628 section 3.5). */
const INTERVAL_S = 5;

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
  say(`open ${device.verification_uri} in any browser and enter the code ${device.user_code}`);
  if (device.verification_uri_complete) say(`or open ${device.verification_uri_complete}`);
  const end = Date.now() + device.expires_in * 1000;
  let seconds = device.interval ?? INTERVAL_S;
  while (Date.now() < end) {
    await wait(seconds * 1000);
    try {
      return await client.redeemDevice(device.device_code);
    } catch (error) {
      if (!(error instanceof AuthorizationPending)) throw error;
      if (error instanceof SlowDown) seconds += INTERVAL_S;
    }
  }
  throw new StartFailure('the code has expired before anyone entered it');
}
