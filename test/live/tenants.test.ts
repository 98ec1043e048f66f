import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { createCertificates } from '../../demo/certificates.ts';
import { jwtVerifier } from '../../demo/connectivity-proxy/jwt.ts';
import { type ConnectivityProxy, startConnectivityProxy } from '../../demo/connectivity-proxy.ts';
import { type DestinationServiceSimulator, startDestinationService } from '../../demo/destination-service/service.ts';
import { introspection } from '../../demo/mail-server/introspection.ts';
import { type MailServer, startMailServer } from '../../demo/mail-server/server.ts';
import { type OpenIdProvider, SCOPE, startOpenIdProvider } from '../../demo/openid-provider.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { begin, beginWithToken, fetchText, retrieveOnly, sendMail } from './apps.ts';
import { freePorts } from './daemon.ts';
import { Wire } from './wire.ts';

/** Two subscribers with a destination of the same name, behind the same virtual host; and one that has none. */
const TENANTS = ['red', 'blue'] as const;
type Tenant = (typeof TENANTS)[number];
const NONE = 'green';

const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];
const VIRTUAL_HOST = 'mail.onprem.internal';
const VIRTUAL_PORTS: Record<Protocol, number> = { smtp: 587, imap: 143, pop3: 110 };
interface How {
  protocol: Protocol;
  proxyType: string;
  /** The app brings a refresh token. */
  brings?: boolean;
}
const CASES: How[] = PROTOCOLS.flatMap((protocol) =>
  ['Internet', 'OnPremise'].map((proxyType) => ({ protocol, proxyType })),
);
const nameOf = ({ protocol, proxyType, brings }: How) => `${proxyType}-${protocol}${brings ? '-token' : ''}`;
/** Sessions of each tenant at once: more than Envoy has workers, so that each worker serves both. */
const SESSIONS = 8;

/** The user of a tenant whose own token is not presented here. */
const otherUserOf = (tenant: string) => `other@${tenant}.test`;
const userOf = (tenant: string) => `user@${tenant}.test`;
const audienceOf = (tenant: string) => `https://mail.${tenant}.test`;
const messageOf = (tenant: string) => `this belongs to ${tenant}\r\n`;
const other = (tenant: Tenant): Tenant => (tenant === 'red' ? 'blue' : 'red');

let dir: string;
let provider: OpenIdProvider;
let service: DestinationServiceSimulator;
let proxy: ConnectivityProxy;
let postern: Running;
const servers = {} as Record<Tenant, MailServer>;
const ports = new Map<string, number>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tenants-'));
  provider = await startOpenIdProvider({
    clients: TENANTS.map((tenant) => ({
      id: `client-${tenant}`,
      secret: `secret-${tenant}`,
      audience: audienceOf(tenant),
      user: userOf(tenant),
      redirectUris: [`https://app.${tenant}.test/callback`],
    })),
    resourceServers: TENANTS.map((tenant) => ({ id: tenant, secret: tenant, audience: audienceOf(tenant) })),
    users: TENANTS.map(userOf),
    // the same one is presented for another tenant and for another user, and it must not be its being used up that has it refused
    rotate: false,
  });
  const certificates = await createCertificates(dir);
  const tls = await certificates.issue('localhost');
  for (const tenant of TENANTS) {
    const tokens = introspection(provider.introspectionUrl(tenant), SCOPE);
    servers[tenant] = await startMailServer({
      accounts: { [userOf(tenant)]: tenant, [otherUserOf(tenant)]: tenant },
      tls,
      tokens,
    });
  }
  service = await startDestinationService({
    accounts: { provider: {}, [NONE]: {}, ...Object.fromEntries(TENANTS.map((tenant) => [tenant, accountOf(tenant)])) },
    provider: 'provider',
  });
  proxy = await startConnectivityProxy({
    tokens: { verify: jwtVerifier({ keys: createLocalJWKSet(service.jwks), audience: service.connectivityAudience }) },
    locations: [],
    hosts: {},
    tenants: Object.fromEntries(TENANTS.map((tenant) => [tenant, { locations: [''], hosts: virtualHosts(tenant) }])),
  });
  postern = await up({
    configFile: await writeConfiguration(certificates.caFile),
    workers: 2,
    logFile: join(dir, 'log'),
  });
}, 120_000);

afterAll(async () => {
  await postern?.stop();
  await Promise.all([proxy?.close(), service?.close(), ...TENANTS.map((tenant) => servers[tenant]?.close())]);
  await provider?.close();
  await rm(dir, { recursive: true, force: true });
});

beforeEach(() => {
  for (const tenant of TENANTS) {
    servers[tenant].logins.length = 0;
    const inbox = servers[tenant].store.inbox(userOf(tenant));
    inbox.messages = [];
    inbox.add(`Subject: hello\r\n\r\n${messageOf(tenant)}`);
    servers[tenant].store.inbox(otherUserOf(tenant)).messages = [];
  }
  proxy.log.length = 0;
  provider.checks.length = 0;
  provider.log.length = 0;
  provider.refusals.length = 0;
});

/** The names say nothing of the tenant; everything behind them does. */
function accountOf(tenant: Tenant) {
  const destinations = [...CASES, ...CASES.map((how) => ({ ...how, brings: true }))].map((how) => {
    const { protocol, proxyType } = how;
    const secure = proxyType === 'Internet';
    const transport = `${protocol}${protocol === 'imap' ? '4' : ''}${secure ? 's' : ''}`;
    return {
      Name: nameOf(how),
      Type: 'MAIL',
      ProxyType: proxyType,
      Authentication: how.brings ? 'OAuth2RefreshToken' : 'OAuth2ClientCredentials',
      'mail.user': userOf(tenant),
      'mail.transport.protocol': transport,
      [`mail.${transport}.host`]: secure ? 'localhost' : VIRTUAL_HOST,
      [`mail.${transport}.port`]: `${secure ? servers[tenant].ports.tls[protocol] : VIRTUAL_PORTS[protocol]}`,
      clientId: `client-${tenant}`,
      clientSecret: `secret-${tenant}`,
      tokenServiceURL: provider.tokenEndpoint,
      'tokenServiceURL.ProxyType': 'Internet',
      tokenServiceURLType: 'Dedicated',
      scope: SCOPE,
    };
  });
  return { subaccount: { destinations } };
}

function virtualHosts(tenant: Tenant) {
  return Object.fromEntries(
    PROTOCOLS.map((protocol) => [
      `${VIRTUAL_HOST}:${VIRTUAL_PORTS[protocol]}`,
      { host: '127.0.0.1', port: servers[tenant].ports.plain[protocol] },
    ]),
  );
}

async function writeConfiguration(caFile: string): Promise<string> {
  const listeners = [...TENANTS, NONE].flatMap((tenant) =>
    CASES.flatMap((how) => [how, { ...how, brings: true }]).map((how) => ({
      ...{ destination: nameOf(how), protocol: how.protocol, tenant },
    })),
  );
  const free = await freePorts(listeners.length);
  const secret = { mode: 0o600 };
  await writeFile(join(dir, 'destination.json'), JSON.stringify(service.binding), secret);
  await writeFile(join(dir, 'connectivity.json'), JSON.stringify(service.connectivityBinding), secret);
  const main = {
    destinations: { services: [{ name: 'main', binding: './destination.json' }] },
    connectivity: { host: '127.0.0.1', port: proxy.port, token: { binding: './connectivity.json' } },
    grants: { directory: './grants' },
    tls: { additionalCAs: [caFile] },
    listeners: listeners.map((listener, index) => {
      ports.set(`${listener.tenant} ${listener.destination}`, free[index] as number);
      return { ...listener, address: `127.0.0.1:${free[index]}` };
    }),
  };
  const file = join(dir, 'postern.yaml');
  await writeFile(file, JSON.stringify(main));
  return file;
}

/** An app's whole dialogue, silent or with what it brings: sends a message, or returns the text of the one in the mailbox. */
async function session(tenant: string, how: How, brought?: { user: string; token: string }): Promise<string> {
  const { protocol } = how;
  const wire = await Wire.open(ports.get(`${tenant} ${nameOf(how)}`) as number);
  try {
    if (brought) await beginWithToken(wire, protocol, brought.user, brought.token);
    else await begin(wire, protocol, 'silent');
    if (protocol === 'imap') return await fetchText(wire);
    if (protocol === 'pop3') return (await retrieveOnly(wire)).split('\r\n\r\n')[1] ?? '';
    await sendMail(wire, 'silent', userOf(tenant), `Subject: new\r\n\r\n${messageOf(tenant)}`);
    return messageOf(tenant);
  } finally {
    wire.close();
  }
}

function messagesOf(tenant: Tenant): string[] {
  return servers[tenant].store.inbox(userOf(tenant)).messages.map(({ content }) => content);
}

it.each(CASES)('$proxyType $protocol: tenants never meet', async (how) => {
  const apps = Array.from({ length: SESSIONS }, () =>
    TENANTS.map((tenant) => ({ tenant, text: session(tenant, how) })),
  );
  for (const { tenant, text } of apps.flat()) expect(await text).toBe(messageOf(tenant));
  for (const tenant of TENANTS) {
    const logins = servers[tenant].logins.map(({ user, protocol }) => ({ user, protocol }));
    expect(logins).toEqual(Array(SESSIONS).fill({ user: userOf(tenant), protocol: how.protocol }));
    expect(messagesOf(tenant).join('')).not.toContain(messageOf(other(tenant)));
    const tunnels = proxy.log.filter((tunnel) => tunnel.tenant === tenant).map(({ code }) => code);
    expect(tunnels).toEqual(how.proxyType === 'OnPremise' ? Array(SESSIONS).fill(0) : []);
    const own = new Set(
      provider.log.filter(({ client }) => client === `client-${tenant}`).map(({ tokenId }) => tokenId),
    );
    const checks = provider.checks.filter(({ by }) => by === tenant);
    expect(checks).toHaveLength(SESSIONS);
    expect(checks.filter(({ tokenId, active }) => !active || !own.has(tokenId))).toEqual([]);
  }
});

it.each(CASES)('$proxyType $protocol: a tenant without the destination gets none of the others', async (how) => {
  await session('red', how);
  await expect(session(NONE, how)).rejects.toThrow(`postern: ${how.proxyType}-${how.protocol}: unknown_destination: `);
  expect(proxy.log.filter(({ tenant }) => tenant === NONE)).toEqual([]);
});

describe('an app that brings a refresh token', () => {
  const issued = () => provider.log.map(({ client, tokenId }) => ({ client, tokenId }));

  /** Presented where it belongs, until it is kept: one token request. */
  async function present(tenant: Tenant, how: How) {
    const brought = {
      user: userOf(tenant),
      token: await provider.refreshToken({ client: `client-${tenant}`, user: userOf(tenant) }),
    };
    for (let turn = 0; turn < 2; turn++) expect(await session(tenant, how, brought)).toBe(messageOf(tenant));
    expect(issued()).toEqual([{ client: `client-${tenant}`, tokenId: expect.any(String) }]);
    return brought;
  }

  const BRINGING = CASES.map((how) => ({ ...how, brings: true }));

  it.each(BRINGING)('$proxyType $protocol: at another tenant it is that one’s own request, refused', async (how) => {
    const brought = await present('red', how);
    await expect(session('blue', how, brought)).rejects.toThrow(
      new RegExp(`postern: ${nameOf(how)}: rejected: the Destination service got no token: .*"invalid_grant"`),
    );
    expect(new Set(provider.refusals)).toEqual(
      new Set([{ grant: 'refresh_token', client: 'client-blue', error: 'invalid_grant' }]),
    );
    expect(issued()).toHaveLength(1);
    expect(servers.blue.logins).toEqual([]);
    expect(provider.checks.filter(({ by }) => by === 'blue')).toEqual([]);
    expect(proxy.log.filter(({ tenant, code }) => tenant === 'red' && code === 0)).toHaveLength(
      how.proxyType === 'OnPremise' ? 2 : 0,
    );
    // what is kept for the tenant that it belongs to stays
    expect(await session('red', how, brought)).toBe(messageOf('red'));
    expect(issued()).toHaveLength(1);
  });

  it.each(BRINGING)('$proxyType $protocol: for another user it is a request of its own, refused', async (how) => {
    const brought = await present('red', how);
    const kept = issued()[0]?.tokenId;
    const checks = provider.checks.length;
    const user = otherUserOf('red');
    await expect(session('red', how, { ...brought, user })).rejects.toThrow(`postern: ${nameOf(how)}: rejected: `);
    const own = issued().slice(1);
    expect(own.length).toBeGreaterThan(0);
    // the server was shown these, and not the one that is kept
    const asked = provider.checks.slice(checks).map(({ tokenId }) => tokenId);
    expect(asked).toEqual(own.map(({ tokenId }) => tokenId));
    expect(asked).not.toContain(kept);
    expect(servers.red.logins.filter((login) => login.user === user)).toEqual([]);
    expect(await session('red', how, brought)).toBe(messageOf('red'));
    expect(provider.checks.at(-1)?.tokenId).toBe(kept);
  });
});

it('the Destination service was asked with the tenants’ own tokens only', () => {
  expect(new Set(service.log.map(({ tenant }) => tenant))).toEqual(new Set([...TENANTS, NONE]));
});
