import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { getDestination } from '@sap-cloud-sdk/connectivity';
import { sendMail } from '@sap-cloud-sdk/mail-client';
import { createLocalJWKSet } from 'jose';
import { describe, expect, it, vi } from 'vitest';
import { createCertificates } from '../../../demo/certificates.ts';
import { jwtVerifier } from '../../../demo/connectivity-proxy/jwt.ts';
import { startConnectivityProxy } from '../../../demo/connectivity-proxy.ts';
import type { DestinationServiceSimulator, ServiceKey } from '../../../demo/destination-service/service.ts';
import { startMailServer } from '../../../demo/mail-server/server.ts';
import { startOpenIdProvider } from '../../../demo/openid-provider.ts';
import { afterwards, BASIC, MAIL, simulator, temporaryFolder } from './world.ts';

/** SAP's own clients against the simulators: a second opinion on what we read in the documentation. */

/** As Cloud Foundry gives bindings to an app. Its DNS needs not know tenants' names. */
function bind(running: DestinationServiceSimulator, more: Record<string, string> = {}): void {
  const { port } = new URL(running.url);
  const local = ({ uri, ...key }: ServiceKey) => {
    const url = `http://127.0.0.1:${port}`;
    return {
      ...key,
      url,
      ...(uri !== undefined && { uri: url }),
      tenantid: 'provider',
      uaadomain: 'localhost',
      verificationkey: '',
    };
  };
  const service = (label: string, credentials: object) => [{ name: label, label, tags: [label], credentials }];
  const connectivity = { ...local(running.connectivityBinding), ...more };
  vi.stubEnv(
    'VCAP_SERVICES',
    JSON.stringify({
      destination: service('destination', local(running.binding)),
      xsuaa: service('xsuaa', local(running.binding)),
      connectivity: service('connectivity', connectivity),
    }),
  );
  afterwards(() => vi.unstubAllEnvs());
}

/**
 * The port of a mail server that is some way off. SAP's client loses a greeting that comes at once: between the SOCKS
 * reply and its listener the socket flows, and nobody reads.
 */
async function distant(port: number): Promise<number> {
  const server = createServer((client) => {
    const upstream = connect(port, '127.0.0.1');
    client.pipe(upstream);
    setTimeout(() => upstream.pipe(client), 300);
    for (const socket of [client, upstream]) socket.on('error', () => {});
    afterwards(() => client.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  afterwards(() => server.close());
  return (server.address() as AddressInfo).port;
}

describe('@sap-cloud-sdk/connectivity', () => {
  it('finds a MAIL destination, and none of another name', async () => {
    bind(await simulator({ accounts: { provider: { subaccount: { destinations: [BASIC] } } } }));
    const found = await getDestination({ destinationName: 'office' });
    expect(found).toMatchObject({ name: 'office', type: 'MAIL', authentication: 'BasicAuthentication' });
    expect(found?.originalProperties).toMatchObject({ 'mail.smtp.host': 'mail.example', 'mail.password': 'p4ssw0rd' });
    expect(await getDestination({ destinationName: 'nobody' })).toBeNull();
  });

  it('gets tokens: client credentials, for one tenant and for all, and a refresh token', async () => {
    const provider = await startOpenIdProvider({
      clients: [
        { id: 'robot', secret: 's3cret', audience: 'https://mail.example', user: 'a@example' },
        { id: 'mail', secret: 's3cret', audience: 'https://mail.example', redirectUris: ['http://127.0.0.1/back'] },
      ],
      resourceServers: [],
      users: ['a@example'],
    });
    afterwards(() => provider.close());
    const oauth = {
      ...MAIL,
      Type: 'HTTP',
      URL: 'http://mail.example',
      clientSecret: 's3cret',
      tokenServiceURL: provider.tokenEndpoint,
    };
    const silent = { ...oauth, Authentication: 'OAuth2ClientCredentials', clientId: 'robot' };
    const destinations = [
      { ...silent, Name: 'silent' },
      {
        ...silent,
        Name: 'common',
        tokenServiceURLType: 'Common',
        tokenServiceURL: `${provider.issuer}/token?tenant={tenant}`,
      },
      { ...oauth, Name: 'refresh', Authentication: 'OAuth2RefreshToken', clientId: 'mail' },
    ];
    const running = await simulator({ accounts: { provider: { subaccount: { destinations } } } });
    bind(running);
    for (const destinationName of ['silent', 'common']) {
      const found = await getDestination({ destinationName });
      expect(found?.authTokens).toMatchObject([{ type: 'Bearer', error: null, expiresIn: '3600' }]);
      expect(provider.log.at(-1)).toMatchObject({ grant: 'client_credentials' });
    }
    // This is SAP's own header for it.
    expect(running.log.at(-1)?.headers).toContain('x-tenant');
    const refreshToken = await provider.refreshToken({ client: 'mail', user: 'a@example' });
    const found = await getDestination({ destinationName: 'refresh', refreshToken });
    expect(found?.authTokens).toMatchObject([{ type: 'Bearer', error: null }]);
    expect(provider.log.at(-1)).toMatchObject({ grant: 'refresh_token' });
  });
});

describe('@sap-cloud-sdk/mail-client', () => {
  it('sends a mail through the Connectivity Proxy simulator, with a token that is checked', async () => {
    const tls = await (await createCertificates(await temporaryFolder())).issue('mail');
    const mailServer = await startMailServer({ accounts: { 'robot@example': 'p4ssw0rd' }, tls });
    afterwards(() => mailServer.close());
    const premise = {
      ...BASIC,
      ProxyType: 'OnPremise',
      'mail.smtp.host': 'mail.virtual',
      'mail.smtp.port': '25',
      CloudConnectorLocationId: 'berlin',
    };
    const running = await simulator({ accounts: { provider: { subaccount: { destinations: [premise] } } } });
    const verify = jwtVerifier({ keys: createLocalJWKSet(running.jwks), audience: running.connectivityAudience });
    const proxy = await startConnectivityProxy({
      tokens: { verify },
      tenants: {
        provider: {
          locations: ['berlin'],
          hosts: { 'mail.virtual:25': { host: '127.0.0.1', port: await distant(mailServer.ports.plain.smtp) } },
        },
      },
      locations: [],
      hosts: {},
    });
    afterwards(() => proxy.close());
    bind(running, {
      onpremise_proxy_host: '127.0.0.1',
      onpremise_proxy_port: '20003',
      onpremise_socks5_proxy_port: `${proxy.port}`,
    });
    const mail = { from: 'robot@example', to: 'robot@example', subject: 'by SAP', text: 'hello' };
    const [sent] = await sendMail({ destinationName: 'office' }, [mail], { ignoreTLS: true });
    expect(sent).toMatchObject({ accepted: ['robot@example'], response: expect.stringMatching(/^250/) });
    expect(mailServer.logins).toMatchObject([{ user: 'robot@example', protocol: 'smtp' }]);
    expect(proxy.log).toEqual([{ host: 'mail.virtual', port: 25, location: 'berlin', tenant: 'provider', code: 0 }]);
  });
});
