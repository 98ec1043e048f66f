import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/paths.ts';
import { Cluster, GATEWAY_NAMESPACE } from './cluster.ts';
import { run } from './control-plane.ts';
import { program, skipReason } from './programs.ts';

const CHART = join(ROOT, 'envoy', 'helm', 'postern');

/** Values that make every template say all that it can. */
const EVERYTHING = {
  additionalCAs: { secretName: 'cas' },
  config: {
    managedNamespacesMode: 'labelSelector',
    metrics: { prometheus: { enabled: true, namespaceLabels: { team: 'metrics' } } },
    integration: {
      destinationService: {
        defaultInstanceName: 'Second_1',
        instances: [
          { name: 'first', serviceCredentials: { secretName: 'one' } },
          { name: 'Second_1', serviceCredentials: { secretName: 'two', secretKey: 'key' } },
        ],
      },
      connectivityProxy: { serviceName: 'connectivity-proxy.sap', credentials: { secretName: 'connectivity' } },
    },
  },
  deployment: {
    image: { pullSecret: 'registry' },
    priority: { value: 1000 },
    autoscaling: { tcp: { horizontal: { enabled: true } } },
    podDisruptionBudget: { maxUnavailable: '50%' },
    topologySpreadConstraints: [{ topologyKey: 'zone', maxSkew: 1, whenUnsatisfiable: 'DoNotSchedule' }],
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: [{ key: 'mail', operator: 'Exists' }],
    affinity: { nodeAffinity: {} },
    podLabels: { team: 'mail' },
    podAnnotations: { note: 'x' },
  },
  rbac: { contentNamespaces: ['default'] },
};

const reason = skipReason();

describe.skipIf(reason)(reason ? `the chart in a cluster (skipped: ${reason})` : 'the chart in a cluster', () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start();
    // A dry run makes nothing that a later object could find.
    await cluster.plane.kubectl(['create', 'priorityclass', 'postern', '--value=1000']);
  });
  afterAll(() => cluster?.close());

  it.each([
    ['gateway', 'its defaults', {}],
    ['istio', 'its defaults', {}],
    ['gateway', 'all values', EVERYTHING],
    ['istio', 'all values', EVERYTHING],
  ])('every object of mode %s with %s is one that the API server takes', async (mode, _, values) => {
    const words = ['template', 'postern', CHART, '--namespace', GATEWAY_NAMESPACE, '--set', `mode=${mode}`];
    const sets = Object.entries(values).flatMap(([key, value]) => ['--set-json', `${key}=${JSON.stringify(value)}`]);
    const manifests = await run(program('helm'), [...words, ...sets]);
    const said = await cluster.plane.kubectl(['apply', '--dry-run=server', '--validate=strict', '-f', '-'], manifests);
    expect(said).toContain('deployment.apps/postern-operator created (server dry run)');
    expect(said.includes('deployment.apps/postern-gateway created (server dry run)')).toBe(mode === 'gateway');
  });

  it('keeps what was written into the Secret of grants: in an upgrade, and when the release goes', async () => {
    const helm = (...words: string[]) =>
      run(program('helm'), [...words, '--kubeconfig', cluster.plane.kubeconfig('admin'), '--namespace', 'default']);
    const grants = async () =>
      JSON.parse(await cluster.plane.kubectl(['get', 'secret', 'postern-grants', '-o', 'json']));
    await helm('install', 'mailer', CHART);
    await cluster.plane.kubectl(['patch', 'secret', 'postern-grants', '-p', '{"data":{"a":"Yg=="}}']);
    await helm('upgrade', 'mailer', CHART, '--set', 'config.logging.level=debug');
    expect((await grants()).data).toEqual({ a: 'Yg==' });
    await helm('uninstall', 'mailer');
    expect((await grants()).data).toEqual({ a: 'Yg==' });
    await helm('install', 'mailer', CHART);
    expect((await grants()).data).toEqual({ a: 'Yg==' });
    await helm('uninstall', 'mailer');
  });
});
