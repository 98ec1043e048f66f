import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { istio, WrongWords } from '../../../cli/istio.ts';
import { listenerId } from '../../../sidecar-auth/kubernetes/istio/listener-id.ts';
import { prepare } from '../../../sidecar-auth/kubernetes/istio/prepare.ts';

let dir: string;
let config: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'istio-'));
  config = join(dir, 'postern.yaml');
  // One folder for all, as a Secret is mounted.
  for (const protocol of ['smtp', 'imap']) {
    writeFileSync(
      join(dir, `${protocol}.yaml`),
      [
        `Name: ${protocol}`,
        'Type: MAIL',
        'ProxyType: Internet',
        'Authentication: NoAuthentication',
        `mail.transport.protocol: ${protocol}`,
        `mail.${protocol}.host: mail.example.org`,
      ].join('\n'),
    );
  }
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function write(...addresses: string[]): void {
  const lines = addresses.map((address, at) => `  - { destination: ${['smtp', 'imap'][at]}, address: '${address}'`);
  const open = (line: string) => (/127|:1\]/.test(line) ? `${line} }` : `${line}, open: true }`);
  writeFileSync(config, `destinations: { directory: . }\nlisteners:\n${lines.map(open).join('\n')}\n`);
}

// biome-ignore lint/suspicious/noExplicitAny: objects of many kinds, of which each test looks at one
function printed(words: Parameters<typeof istio>[0]): Record<string, any[]> {
  const manifests = parseAllDocuments(istio({ config, ...words })).map((document) => document.toJS());
  return Object.groupBy(manifests, ({ kind }) => kind) as Record<string, never[]>;
}

describe('postern istio --selector', () => {
  it('prints one Service, the workload’s filter and one for each destination', () => {
    write('127.0.0.1:2587', '127.0.0.1:2143');
    const { Service, EnvoyFilter, ...rest } = printed({ selector: 'app=crm,tier=web', namespace: 'crm', name: 'mail' });
    expect(rest).toEqual({});
    expect(Service).toMatchObject([{ metadata: { name: 'mail', namespace: 'crm' } }]);
    expect(EnvoyFilter?.map(({ metadata }) => metadata.name)).toEqual(['mail', 'mail-2587', 'mail-2143']);
    for (const { spec } of EnvoyFilter ?? [])
      expect(spec.workloadSelector).toEqual({ labels: { app: 'crm', tier: 'web' } });
  });

  it('names the ids that sidecar-auth, and the operator without FILE, compute', () => {
    write('127.0.0.1:2587', '127.0.0.1:2143');
    const { EnvoyFilter } = printed({ selector: 'app=crm' });
    const ids = JSON.stringify(EnvoyFilter).match(/(smtp|imap):[0-9a-f]{16}/g);
    expect(ids).toEqual([listenerId('sidecar', 'smtp', 2587), listenerId('sidecar', 'imap', 2143)]);
  });

  it.each([
    [['0.0.0.0:2587'], 'must be a loopback address'],
    [['127.0.0.1:2587', '[::1]:2587'], 'is taken by listeners[0]'],
  ])('refuses the addresses %j', (addresses, text) => {
    write(...addresses);
    expect(() => printed({ selector: 'app=crm' })).toThrow(text);
  });

  it.each([
    [{}, 'needs either --selector'],
    [{ selector: 'app=crm', egress: true }, 'needs either --selector'],
    [{ selector: 'app' }, 'app is no label'],
    [{ selector: 'app=crm', name: 'Mail' }, "Mail can't be a name"],
  ])('refuses the words %j', (words, text) => {
    write('127.0.0.1:2587');
    expect(() => istio({ config, ...words })).toThrow(WrongWords);
    expect(() => istio({ config, ...words })).toThrow(text);
  });
});

describe('postern istio --egress', () => {
  const words = { egress: true, namespace: 'mail-egress', allow: 'crm,billing' };

  it('lets in by mutual TLS only, and only the namespaces that are named', () => {
    write('0.0.0.0:2587', '0.0.0.0:2143');
    const { Gateway, AuthorizationPolicy, DestinationRule } = printed(words);
    expect(Gateway?.[0].spec.servers.map((server: { tls: object }) => server.tls)).toEqual([
      { mode: 'ISTIO_MUTUAL' },
      { mode: 'ISTIO_MUTUAL' },
    ]);
    expect(AuthorizationPolicy?.[0].spec).toMatchObject({
      action: 'DENY',
      rules: [
        {
          from: [{ source: { notNamespaces: ['crm', 'billing'] } }],
          to: [{ operation: { ports: ['2587', '2143'] } }],
        },
      ],
    });
    const settings = DestinationRule?.[0].spec.trafficPolicy.portLevelSettings;
    expect(settings.map(({ tls }: { tls: { mode: string } }) => tls.mode)).toEqual(['ISTIO_MUTUAL', 'ISTIO_MUTUAL']);
  });

  it('lets in its own namespace where none is named', () => {
    write('0.0.0.0:2587');
    const { AuthorizationPolicy } = printed({ egress: true, namespace: 'mail-egress' });
    expect(AuthorizationPolicy?.[0].spec.rules[0].from).toEqual([{ source: { notNamespaces: ['mail-egress'] } }]);
  });

  it('runs pods with sidecar-auth in them and without a token of Kubernetes', () => {
    write('0.0.0.0:2587');
    const { template } = printed(words).Deployment?.[0].spec ?? {};
    expect(template.metadata.annotations).toMatchObject({
      'inject.istio.io/templates': 'gateway,postern',
      'sidecar.istio.io/nativeSidecar': 'false',
    });
    expect(template.spec.automountServiceAccountToken).toBe(false);
  });

  it('refuses loopback addresses', () => {
    write('127.0.0.1:2587');
    expect(() => printed(words)).toThrow('must be a wildcard address');
  });
});

describe('prepare', () => {
  it('puts the filter and the CAs into the folder, also a second time', () => {
    write('127.0.0.1:2587');
    const filter = join(dir, 'filter.bin');
    writeFileSync(filter, 'wasm');
    const runDir = join(dir, 'run');
    for (const _ of [1, 2]) prepare(config, runDir, filter);
    expect(readFileSync(join(runDir, 'filter.wasm'), 'utf8')).toBe('wasm');
    expect(readFileSync(join(runDir, 'ca.pem'), 'utf8')).toContain('BEGIN CERTIFICATE');
  });

  it('has every mistake of FILE', () => {
    writeFileSync(config, 'not: [a');
    expect(() => prepare(config, join(dir, 'run'), config)).toThrow(config);
  });
});
