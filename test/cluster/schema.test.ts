import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { API_VERSION, KIND } from '../../sidecar-auth/kubernetes/resource.ts';
import { Cluster, PLAIN } from './cluster.ts';
import { skipReason } from './programs.ts';

const reason = skipReason();
const SERVICE = { destinationRef: { name: 'office' } };
const MESH = { ...PLAIN, mode: 'istio', service: { port: 2587 }, workloadSelector: { matchLabels: { app: 'web' } } };

/** What may be written. The first is an example of SAP's documentation with another apiVersion. */
const RIGHT: [string, object][] = [
  [
    "SAP's own words",
    {
      destinationRef: { name: 'office', level: 'provider_subaccount' },
      fragmentRef: { name: 'more', level: 'instance', optional: true },
      chainRef: { name: 'com.sap.chain', variables: [{ name: 'one', value: 'first' }] },
      destinationServiceInstanceName: 'main',
      service: { port: 2525 },
      accessControl: { scope: 'clusterWide' },
    },
  ],
  ['a destination of the service alone', SERVICE],
  ['a plain destination in a Secret', PLAIN],
  ['... in a ConfigMap with a Secret beside it', { ...PLAIN, configMapRef: { name: 'mail' } }],
  ['an own login for apps', { ...PLAIN, app: { secretRef: { name: 'apps' } }, maxConnections: 100 }],
  ['preauth', { ...PLAIN, protocol: 'imap', greeting: 'preauth' }],
  ['named namespaces', { ...PLAIN, allowedNamespaces: ['web', 'jobs'], accessControl: { scope: 'namespaced' } }],
  ['a mesh', MESH],
  ["a mesh's egress gateway", { ...MESH, workloadSelector: { ...MESH.workloadSelector, kind: 'egress' } }],
];

/** What may not, and a part of what the user is told. */
const WRONG: [string, object, RegExp][] = [
  ['no destination', { protocol: 'smtp' }, /where the destination comes from/],
  ['two destinations', { ...SERVICE, ...PLAIN }, /where the destination comes from/],
  ['a plain one without a protocol', { secretRef: { name: 'mail' } }, /protocol is needed/],
  ['a fragment of a plain one', { ...PLAIN, fragmentRef: { name: 'more' } }, /belong to destinationRef/],
  ['any destination', { destinationRef: { name: '*' } }, /must be one destination/],
  ['an unknown level', { destinationRef: { name: 'office', level: 'space' } }, /Unsupported value: "space"/],
  ['an unknown protocol', { ...PLAIN, protocol: 'smtps' }, /Unsupported value: "smtps"/],
  ['an unknown scope', { ...PLAIN, accessControl: { scope: 'cluster' } }, /Unsupported value: "cluster"/],
  ['a port that is none', { ...PLAIN, service: { port: 70000 } }, /less than or equal to 65535/],
  ['preauth for smtp', { ...PLAIN, greeting: 'preauth' }, /protocol imap only/],
  [
    'preauth beside an own login',
    { ...PLAIN, protocol: 'imap', greeting: 'preauth', app: { secretRef: { name: 'apps' } } },
    /nobody would log in/,
  ],
  [
    'namespaces beside clusterWide',
    { ...PLAIN, allowedNamespaces: ['web'], accessControl: { scope: 'clusterWide' } },
    /leave one of them out/,
  ],
  ['a pattern of namespaces', { ...PLAIN, allowedNamespaces: ['*'] }, /should match/],
  ['a mesh without pods', { ...PLAIN, mode: 'istio', service: { port: 2587 } }, /whose proxies get the filter/],
  [
    'pods without a mesh',
    { ...PLAIN, workloadSelector: { matchLabels: { app: 'web' } } },
    /whose proxies get the filter/,
  ],
  ['a mesh without a port of its own', { ...MESH, service: {} }, /service.port is needed in mode istio/],
  ['an own login in a mesh', { ...MESH, app: { secretRef: { name: 'apps' } } }, /for mode gateway/],
  ['a Secret of another namespace', { ...PLAIN, secretRef: { name: 'mail', namespace: 'other' } }, /unknown field/],
  ['... in other words', { ...PLAIN, secretRef: { name: 'other/mail' } }, /should match/],
  ['a misspelt word', { ...PLAIN, maxConection: 3 }, /unknown field "spec.maxConection"/],
];

describe.skipIf(reason)(reason ? `The schema (skipped: ${reason})` : 'The schema', () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start();
  });
  afterAll(() => cluster?.close());

  const apply = (name: string, spec: object) => {
    const resource = { apiVersion: API_VERSION, kind: KIND, metadata: { name, namespace: 'default' }, spec };
    return cluster.plane.kubectl(['apply', '--dry-run=server', '-f', '-'], JSON.stringify(resource));
  };

  test.each(RIGHT)('takes %s', async (_, spec) => {
    expect(await apply('office', spec)).toContain('created');
  });

  test.each(WRONG)('refuses %s', async (_, spec, text) => {
    await expect(apply('office', spec)).rejects.toThrow(text);
  });

  test.each(['1office', 'office.mail', 'x'.repeat(64)])(
    'refuses the name %s: no Service could have it',
    async (name) => {
      await expect(apply(name, PLAIN)).rejects.toThrow(/metadata.name becomes the name of a Service/);
    },
  );
});
