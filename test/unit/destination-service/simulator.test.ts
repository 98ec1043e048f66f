import { request } from 'node:http';
import { text } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import type { DestinationServiceSimulator } from '../../../demo/destination-service/service.ts';
import { BASIC, MAIL, simulator } from './world.ts';

const OAUTH = { ...MAIL, clientId: 'mail', clientSecret: 'm4il', tokenServiceURL: 'http://127.0.0.1:1/token' };

function start(): Promise<DestinationServiceSimulator> {
  const destinations = [
    BASIC,
    { ...OAUTH, Name: 'refresh', Authentication: 'OAuth2RefreshToken' },
    { ...OAUTH, Name: 'code', Authentication: 'OAuth2AuthorizationCode' },
    { ...OAUTH, Name: 'common', Authentication: 'OAuth2ClientCredentials', tokenServiceURLType: 'Common' },
  ];
  const fragments = [
    { FragmentName: 'one', 'mail.smtp.port': '2525', 'mail.user': 'one@example' },
    { FragmentName: 'two', 'mail.user': 'two@example' },
  ];
  return simulator({
    accounts: {
      provider: {
        subaccount: { destinations, fragments },
        instance: {
          destinations: [
            { ...BASIC, Name: 'inner' },
            { ...BASIC, 'mail.user': 'instance@example' },
          ],
        },
      },
      acme: { subaccount: { destinations: [BASIC], fragments }, instance: { fragments } },
    },
    chains: { 'com.example.chain': ['subject'] },
  });
}

interface Ask {
  method?: string;
  path?: string;
  /** Pairs, so that one may stand twice. */
  headers?: [string, string][];
  body?: string;
}

/** By node:http, for fetch would put malformed requests right. */
async function ask(running: DestinationServiceSimulator, { method = 'GET', path = '/', headers = [], body }: Ask) {
  const { port } = new URL(running.url);
  const outgoing = request({ host: '127.0.0.1', port, method, path, agent: false });
  for (const [name, value] of headers) {
    const before = name === 'host' ? [] : [outgoing.getHeader(name) ?? []].flat().map(String);
    outgoing.setHeader(name, before.length > 0 ? [...before, value] : value);
  }
  outgoing.end(body);
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) =>
    outgoing.once('response', resolve).once('error', reject),
  );
  return { status: response.statusCode, body: JSON.parse(await text(response)) };
}

async function bearer(running: DestinationServiceSimulator, claims: object = {}): Promise<[string, string]> {
  const given = { tenant: 'provider', clientId: 'x', audience: running.binding.xsappname, ...claims };
  return ['authorization', `Bearer ${await running.token(given)}`];
}

const V1 = '/destination-configuration/v1/destinations';
const V2 = '/destination-configuration/v2/destinations';

/** What the real service refuses, or what we chose where it is undocumented (the simulator's own comment). */
const REFUSED: [string, number, Ask][] = [
  ['an unknown destination', 404, { path: `${V1}/nobody` }],
  ['another path', 404, { path: '/destination-configuration/v3/destinations/office' }],
  ['no name', 404, { path: `${V1}/` }],
  ['a name that is not encoded', 400, { path: `${V1}/%E0%A4` }],
  ['POST', 405, { path: `${V1}/office`, method: 'POST' }],
  ['DELETE', 405, { path: `${V2}/office@subaccount`, method: 'DELETE' }],
  ['v2 without a level', 400, { path: `${V2}/office` }],
  ['an unknown level', 400, { path: `${V2}/office@space` }],
  ['an empty level', 400, { path: `${V2}/office@` }],
  ['a level where it is not', 404, { path: `${V2}/inner@subaccount` }],
  ["a provider's level with the provider's token", 400, { path: `${V2}/office@provider_subaccount` }],
  ['an unknown query parameter', 400, { path: `${V1}/office?skipTokenRetrieval=true` }],
  ['another value of $skipTokenRetrieval', 400, { path: `${V1}/office?$skipTokenRetrieval=yes` }],
  ['an unknown fragment', 404, { path: `${V1}/office`, headers: [['X-fragment-name', 'three']] }],
  [
    'a fragment header twice',
    400,
    {
      path: `${V1}/office`,
      headers: [
        ['X-fragment-name', 'one'],
        ['X-fragment-name', 'two'],
      ],
    },
  ],
  ['an empty fragment name', 400, { path: `${V1}/office`, headers: [['X-fragment-name', 'one,']] }],
  ['optional without a fragment', 400, { path: `${V1}/office`, headers: [['X-fragment-optional', 'true']] }],
  [
    'optional neither true nor false',
    400,
    {
      path: `${V1}/office`,
      headers: [
        ['X-fragment-name', 'one'],
        ['X-fragment-optional', 'yes'],
      ],
    },
  ],
  [
    'optional for two fragments',
    400,
    {
      path: `${V1}/office`,
      headers: [
        ['X-fragment-name', 'one,two'],
        ['X-fragment-optional', 'true'],
      ],
    },
  ],
  ['one of two fragments missing', 404, { path: `${V1}/office`, headers: [['X-fragment-name', 'one,three']] }],
  [
    'a fragment of an unknown level',
    400,
    { path: `${V2}/office@subaccount`, headers: [['X-fragment-name', 'one@space']] },
  ],
  ['an unknown chain', 400, { path: `${V1}/office`, headers: [['X-chain-name', 'com.example.other']] }],
  ['a chain without its variable', 400, { path: `${V1}/office`, headers: [['X-chain-name', 'com.example.chain']] }],
  ['a variable without a chain', 400, { path: `${V1}/office`, headers: [['X-chain-var-subject', 'x']] }],
  ['no X-refresh-token', 400, { path: `${V1}/refresh` }],
  ['X-code in place of X-refresh-token', 400, { path: `${V1}/refresh`, headers: [['X-code', 'c']] }],
  [
    'X-refresh-token twice',
    400,
    {
      path: `${V1}/refresh`,
      headers: [
        ['X-refresh-token', 'a'],
        ['X-refresh-token', 'b'],
      ],
    },
  ],
  ['no X-code', 400, { path: `${V1}/code` }],
  ['an empty X-code', 400, { path: `${V1}/code`, headers: [['X-code', '']] }],
];

describe('the Destination service simulator refuses', () => {
  it.each(REFUSED)('%s', async (_what, status, wrong) => {
    const running = await start();
    const answer = await ask(running, { ...wrong, headers: [await bearer(running), ...(wrong.headers ?? [])] });
    expect(answer).toEqual({ status, body: { ErrorMessage: expect.any(String) } });
  });

  it('says what SAP Cloud SDK compares', async () => {
    const running = await start();
    const answer = await ask(running, { path: `${V1}/nobody`, headers: [await bearer(running)] });
    expect(answer.body.ErrorMessage).toBe('Configuration with the specified name was not found');
  });

  it('tokens that are missing, malformed, expired, of another key, tenant or service', async () => {
    const running = await start();
    const other = await start();
    const tokens: [number, [string, string][]][] = [
      [401, []],
      [401, [['authorization', 'Basic eDp5']]],
      [401, [['authorization', 'Bearer x.y.z']]],
      [401, [await bearer(running, { seconds: -1 })]],
      [401, [await bearer(other)]],
      [401, [await bearer(running, { tenant: 'nobody' })]],
      [403, [await bearer(running, { audience: running.connectivityAudience })]],
    ];
    for (const [status, headers] of tokens) {
      expect(await ask(running, { path: `${V1}/office`, headers })).toMatchObject({
        status,
        body: { ErrorMessage: expect.any(String) },
      });
    }
    expect(await ask(running, { path: `${V1}/office`, headers: [await bearer(running)] })).toMatchObject({
      status: 200,
    });
  });

  it("a subscriber's mix of subaccount level and another", async () => {
    const running = await start();
    const headers = [await bearer(running, { tenant: 'acme' }), ['X-fragment-name', 'one@instance']] as [
      string,
      string,
    ][];
    expect(await ask(running, { path: `${V2}/office@subaccount`, headers })).toMatchObject({ status: 403 });
    expect(await ask(running, { path: `${V2}/office@provider_subaccount`, headers })).toMatchObject({ status: 200 });
  });
});

describe('the token endpoint refuses', () => {
  const form = (values: Record<string, string>) => `${new URLSearchParams(values)}`;
  const POSTED: [string, string] = ['content-type', 'application/x-www-form-urlencoded'];

  it.each<[string, number, (right: Record<string, string>) => Ask]>([
    ['GET', 405, () => ({})],
    [
      'another content type',
      415,
      (right) => ({ method: 'POST', headers: [['content-type', 'application/json']], body: JSON.stringify(right) }),
    ],
    [
      'a wrong secret',
      401,
      (right) => ({ method: 'POST', headers: [POSTED], body: form({ ...right, client_secret: 'wrong' }) }),
    ],
    ['no secret', 401, ({ client_secret: _, ...right }) => ({ method: 'POST', headers: [POSTED], body: form(right) })],
    [
      'an unknown client',
      401,
      (right) => ({ method: 'POST', headers: [POSTED], body: form({ ...right, client_id: 'who' }) }),
    ],
    ['no grant type', 400, ({ grant_type: _, ...right }) => ({ method: 'POST', headers: [POSTED], body: form(right) })],
    [
      'another grant type',
      401,
      (right) => ({ method: 'POST', headers: [POSTED], body: form({ ...right, grant_type: 'password' }) }),
    ],
    [
      'an unknown subdomain',
      404,
      (right) => ({ method: 'POST', headers: [POSTED, ['host', 'nobody.localhost']], body: form(right) }),
    ],
    [
      'an unknown x-zid',
      404,
      (right) => ({ method: 'POST', headers: [POSTED, ['x-zid', 'nobody']], body: form(right) }),
    ],
  ])('%s', async (_what, status, wrong) => {
    const running = await start();
    const { clientid, clientsecret = '' } = running.binding;
    const right = { grant_type: 'client_credentials', client_id: clientid, client_secret: clientsecret };
    const answer = await ask(running, { path: '/oauth/token', ...wrong(right) });
    expect(answer).toEqual({ status, body: { error: expect.any(String), error_description: expect.any(String) } });
    const twin = await ask(running, { path: '/oauth/token', method: 'POST', headers: [POSTED], body: form(right) });
    expect(twin).toMatchObject({ status: 200, body: { token_type: 'bearer', expires_in: 43_200 } });
  });
});

describe('the Destination service simulator answers', () => {
  it('instance before subaccount in v1, and the level that was asked for in v2', async () => {
    const running = await start();
    const headers = [await bearer(running)];
    const user = async (path: string) =>
      (await ask(running, { path, headers })).body.destinationConfiguration['mail.user'];
    expect(await user(`${V1}/office`)).toBe('instance@example');
    expect(await user(`${V2}/office@subaccount`)).toBe('robot@example');
    expect(await user(`${V2}/office@instance`)).toBe('instance@example');
  });

  it('fragments in their order, an optional one that is missing, and a chain', async () => {
    const running = await start();
    const configuration = async (...headers: [string, string][]) => {
      const answer = await ask(running, {
        path: `${V2}/office@subaccount`,
        headers: [await bearer(running), ...headers],
      });
      return answer.body.destinationConfiguration;
    };
    expect(await configuration(['X-fragment-name', 'one, two'])).toMatchObject({
      'mail.smtp.port': '2525',
      'mail.user': 'two@example',
      FragmentName: 'one,two',
    });
    expect(await configuration(['X-fragment-name', 'three'], ['X-fragment-optional', 'true'])).toEqual(BASIC);
    expect(await configuration(['X-chain-name', 'com.example.chain'], ['X-chain-var-subject', 'x'])).toEqual(BASIC);
  });

  it('what the token service has against it in authTokens, with an empty type and value', async () => {
    const running = await start();
    const headers: [string, string][] = [await bearer(running), ['X-refresh-token', 'r']];
    const { body } = await ask(running, { path: `${V1}/refresh`, headers });
    expect(body.authTokens).toEqual([
      { type: '', value: '', error: expect.stringContaining('Retrieval of OAuthToken failed') },
    ]);
    const common = await ask(running, { path: `${V1}/common`, headers });
    expect(common.body.authTokens).toEqual([{ type: '', value: '', error: expect.stringContaining('X-tenant') }]);
  });

  it('logs requests without their secrets', async () => {
    const running = await start();
    const [, token] = await bearer(running);
    await ask(running, {
      path: `${V1}/refresh?$skipTokenRetrieval=true`,
      headers: [
        ['authorization', token],
        ['X-refresh-token', 's3cret'],
      ],
    });
    expect(running.log).toEqual([
      {
        what: 'destination',
        method: 'GET',
        path: `${V1}/refresh`,
        query: ['$skipTokenRetrieval'],
        headers: ['x-refresh-token'],
        tenant: 'provider',
        destination: 'refresh',
        status: 200,
      },
    ]);
    expect(JSON.stringify(running.log)).not.toMatch(/s3cret|eyJ/);
  });
});
