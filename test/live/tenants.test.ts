import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createLocalJWKSet } from 'jose';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
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
import { begin, fetchText, retrieveOnly, sendMail } from './apps.ts';
import { freePorts } from './daemon.ts';
import { Wire } from './wire.ts';

/** Two subscribers with a destination of the same name, behind the same virtual host; and one that has none. */
const TENANTS = ['red', 'blue'] as const;
type Tenant = (typeof TENANTS)[number];
const NONE = 'green';

const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];
const VIRTUAL_HOST = 'mail.onprem.internal';
const VIRTUAL_PORTS: Record<Protocol, number> = { smtp: 587, imap: 143, pop3: 110 };
const CASES = PROTOCOLS.flatMap((protocol) => ['Internet', 'OnPremise'].map((proxyType) => ({ protocol, proxyType })));
/** Sessions of each tenant at once: more than Envoy has workers, so that each worker serves both. */
const SESSIONS = 8;

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
    })),
    resourceServers: TENANTS.map((tenant) => ({ id: tenant, secret: tenant, audience: audienceOf(tenant) })),
    users: TENANTS.map(userOf),
  });
  const certificates = await createCertificates(dir);
  const tls = await certificates.issue('localhost');
  for (const tenant of TENANTS) {
    const tokens = introspection(provider.introspectionUrl(tenant), SCOPE);
    servers[tenant] = await startMailServer({ accounts: { [userOf(tenant)]: tenant }, tls, tokens });
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
  }
  proxy.log.length = 0;
  provider.checks.length = 0;
});

/** The names say nothing of the tenant; everything behind them does. */
function accountOf(tenant: Tenant) {
  const destinations = CASES.map(({ protocol, proxyType }) => {
    const secure = proxyType === 'Internet';
    const transport = `${protocol}${protocol === 'imap' ? '4' : ''}${secure ? 's' : ''}`;
    return {
      Name: `${proxyType}-${protocol}`,
      Type: 'MAIL',
      ProxyType: proxyType,
      Authentication: 'OAuth2ClientCredentials',
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
    CASES.map(({ protocol, proxyType }) => ({ destination: `${proxyType}-${protocol}`, protocol, tenant })),
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

/** A silent app's whole dialogue: sends a message, or returns the text of the one in the mailbox. */
async function session(tenant: string, { protocol, proxyType }: (typeof CASES)[number]): Promise<string> {
  const wire = await Wire.open(ports.get(`${tenant} ${proxyType}-${protocol}`) as number);
  try {
    await begin(wire, protocol, 'silent');
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

it('the Destination service was asked with the tenants’ own tokens only', () => {
  expect(new Set(service.log.map(({ tenant }) => tenant))).toEqual(new Set([...TENANTS, NONE]));
});
