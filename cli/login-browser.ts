import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as oauth from 'oauth4webapi';
import type { TokenService } from '../sidecar-auth/destination/token-service.ts';
import { clean } from '../sidecar-auth/failure.ts';
import type { IssuedTokens, TokenClient } from '../sidecar-auth/token/request.ts';
import { StartFailure } from './start-failure.ts';

export interface Consent {
  service: TokenService;
  client: TokenClient;
  /** The mailbox's user, as a hint to who is to log in. */
  user: string;
  say: (line: string) => void;
}

/** Milliseconds for a person to log in, second factor included. */
const TIME_LIMIT_MS = 600_000;

/**
 * Authorization code with PKCE on a loopback address (RFC 8252 sections 6 and 7.3, RFC 7636).
 * @throws StartFailure where the person or the token service says no, or nobody comes
 * @throws Failure of the token service
 */
export async function consentByBrowser(consent: Consent, endpoint: string): Promise<IssuedTokens> {
  const { service, client, say } = consent;
  const loopback = loopbackOf(service.redirectUri);
  const server = createServer();
  try {
    await listen(server, Number(loopback.port));
    const redirectUri = withPort(loopback.uri, server);
    const state = randomBytes(16).toString('base64url');
    const verifier = oauth.generateRandomCodeVerifier();
    const arrived = code(server, state);
    say(
      `open this page in a browser of this machine:\n\n  ${await page(consent, endpoint, redirectUri, state, verifier)}\n`,
    );
    return await client.redeem(await arrived, redirectUri, verifier);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

async function listen(server: Server, port: number): Promise<void> {
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StartFailure(`127.0.0.1:${port}, where the browser is to come back to, can't be used (${code})`);
  }
}

/** The destination's X-redirect-uri where it is a loopback one (Microsoft knows `http://localhost` only), else a loopback IP literal. */
function loopbackOf(redirectUri: string | undefined): { uri: string; port: string } {
  const url = URL.canParse(redirectUri ?? '') ? new URL(redirectUri ?? '') : null;
  const loopback = url?.protocol === 'http:' && ['localhost', '127.0.0.1'].includes(url.hostname);
  return loopback && redirectUri ? { uri: redirectUri, port: url.port } : { uri: 'http://127.0.0.1/', port: '' };
}

/** RFC 8252 section 7.3: any port at the time of the request. What is behind it stays as it was registered. */
function withPort(uri: string, server: Server): string {
  const { port } = server.address() as AddressInfo;
  return uri.replace(/^http:\/\/[^/:]+(?!:)(?=\/|$)/, (origin) => `${origin}:${port}`);
}

async function page(
  { service, user }: Consent,
  endpoint: string,
  redirectUri: string,
  state: string,
  verifier: string,
): Promise<string> {
  const url = new URL(endpoint);
  // OpenID Connect Core section 11 gives offline access only to who is asked for consent; Google a refresh token likewise.
  if (!url.searchParams.has('prompt')) url.searchParams.set('prompt', 'consent');
  const parameters = {
    response_type: 'code',
    client_id: service.clientId,
    redirect_uri: redirectUri,
    ...(service.scope !== undefined && { scope: service.scope }),
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    login_hint: user,
  };
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
  return url.href;
}

/** The code of the redirect that carries our state; what anyone else sends is refused, and changes nothing. */
function code(server: Server, state: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new StartFailure('nobody came within ten minutes')), TIME_LIMIT_MS);
    server.on('close', () => clearTimeout(late));
    server.on('request', (request, response) => {
      const searchParams = queryOf(request.url ?? '');
      if (searchParams.get('state') !== state)
        return answer(response, 400, 'This is not the page that Postern waits for.');
      const found = searchParams.get('code');
      const error = clean(searchParams.get('error') ?? 'no code came', 60);
      const text = found ? 'Thank you. Postern goes on by itself; you can close this window.' : `No consent: ${error}`;
      answer(response, 200, text, () =>
        found ? resolve(found) : reject(new StartFailure(`there was no consent: ${error}`)),
      );
    });
  });
}

/** Anyone on this machine can send anything: what is no URL (`//`) has no query. */
function queryOf(path: string): URLSearchParams {
  const url = URL.canParse(path, 'http://127.0.0.1') ? new URL(path, 'http://127.0.0.1') : null;
  return url?.searchParams ?? new URLSearchParams();
}

function answer(response: ServerResponse, status: number, text: string, then?: () => void): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', connection: 'close' });
  response.end(`${text}\n`, then);
}
