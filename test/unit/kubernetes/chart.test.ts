import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { isExecutable } from '../../../cli/find-program.ts';
import { ROOT } from '../../../cli/paths.ts';
import { chartReadme } from '../../../scripts/lib/chart-readme.ts';
import { readOptions } from '../../../sidecar-auth/kubernetes/operator/options.ts';
import { program } from '../../cluster/programs.ts';

const CHART = join(ROOT, 'envoy', 'helm', 'postern');
const helm = program('helm');
const reason = isExecutable(helm) ? undefined : 'helm is not installed';

interface Rendered {
  kind: string;
  metadata: { name: string };
  // biome-ignore lint/suspicious/noExplicitAny: any Kubernetes object
  [other: string]: any;
}

function run(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(helm, args, { encoding: 'utf8' });
  return { status, output: `${stdout}${stderr}` };
}

function render(...sets: string[]): Rendered[] {
  const args = sets.flatMap((set) => ['--set-json', set]);
  const { status, output } = run('template', 'postern', CHART, '--namespace', 'mail', ...args);
  if (status !== 0) throw new Error(output);
  return parseAllDocuments(output)
    .map((document) => document.toJSON() as Rendered | null)
    .filter((object) => object !== null);
}

function podsOf(objects: Rendered[]): Rendered[] {
  return objects.flatMap((object) => {
    if (object.kind === 'Deployment') return object.spec.template.spec;
    return object.kind === 'Pod' ? object.spec : [];
  });
}

describe("the chart's README", () => {
  it('is what values.yaml says (else: node scripts/chart-readme.ts)', () => {
    const values = readFileSync(join(CHART, 'values.yaml'), 'utf8');
    expect(readFileSync(join(CHART, 'README.md'), 'utf8')).toBe(chartReadme(values));
  });

  it('refuses a value without a comment', () => {
    expect(() => chartReadme('# why\na: 1\nb: { c: 2 }\n')).toThrow('b.c has no comment');
  });
});

describe.skipIf(reason)(reason ? `the chart (skipped: ${reason})` : 'the chart', () => {
  it.each(['gateway', 'istio'])('passes helm lint with mode %s', (mode) => {
    const { status, output } = run('lint', '--strict', '--set', `mode=${mode}`, CHART);
    expect(output).toContain('0 chart(s) failed');
    expect(status).toBe(0);
  });

  it.each([
    ['mode="sidecar"', '/mode'],
    ['replicas=3', 'replicas'],
    ['deployment.replicas.tcp=0', '/deployment/replicas/tcp'],
    ['config.managedNamespacesMode="some"', '/config/managedNamespacesMode'],
    ['config.integration.destinationService.instances=[{"name":"a"}]', 'serviceCredentials'],
    ['ports.first=80', '/ports/first'],
  ])('refuses %s', (set, where) => {
    const { status, output } = run('template', 'postern', CHART, '--set-json', set);
    expect(status).not.toBe(0);
    expect(output).toContain(where);
  });

  it('refuses fewer pods at most than at least', () => {
    const horizontal = '{"enabled":true,"maxReplicaCount":2}';
    expect(() => render(`deployment.autoscaling.tcp.horizontal=${horizontal}`)).toThrow('must be higher');
  });

  const modes: [string, string[]][] = [
    ['gateway', []],
    ['istio', ['mode="istio"']],
  ];
  it.each(modes)(
    'every container of mode %s can do without root, a writable file system and capabilities',
    (_, sets) => {
      const pods = podsOf(render(...sets));
      expect(pods.length).toBeGreaterThan(0);
      for (const pod of pods) {
        expect(pod.securityContext).toMatchObject({ runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
        for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
          expect(container.securityContext).toEqual({
            allowPrivilegeEscalation: false,
            readOnlyRootFilesystem: true,
            capabilities: { drop: ['ALL'] },
          });
        }
      }
    },
  );

  it('gives the operator no right to read a Secret, and the gateway none to list them', () => {
    const rights = render()
      .filter(({ kind }) => kind === 'ClusterRole' || kind === 'Role')
      .flatMap(({ metadata, rules }) =>
        (rules as { resources: string[]; verbs: string[] }[]).map((rule) => ({ role: metadata.name, ...rule })),
      )
      .filter(({ resources }) => resources.includes('secrets'));
    expect(rights.map(({ role, verbs }) => [role, verbs])).toEqual([
      ['postern-gateway-contents', ['get']],
      ['postern-gateway', ['get', 'patch']],
    ]);
  });

  it('lets nobody reach the gateway by itself, and scrapers only where that is wanted', () => {
    const ingress = (objects: Rendered[]) =>
      objects.find(({ kind, metadata }) => kind === 'NetworkPolicy' && metadata.name === 'postern-gateway')?.spec
        .ingress;
    expect(ingress(render())).toEqual([]);
    const [rule, ...more] = ingress(render('config.metrics.prometheus.enabled=true')) ?? [];
    expect(more).toEqual([]);
    expect(rule.ports).toEqual([{ port: 9494, protocol: 'TCP' }]);
  });

  it('says words to both programs that they know', () => {
    const [gateway, operator] = ['postern-gateway', 'postern-operator'].map((name) => {
      const found = render().find((object) => object.kind === 'Deployment' && object.metadata.name === name);
      return found?.spec.template.spec;
    });
    const [, ...words] = operator.containers[0].args as string[];
    expect(readOptions(words).settings).toMatchObject({
      gatewayNamespace: 'mail',
      gatewaySelector: { 'app.kubernetes.io/instance': 'postern', 'app.kubernetes.io/component': 'gateway' },
      istio: false,
    });
    const source = readFileSync(join(ROOT, 'sidecar-auth', 'kubernetes', 'gateway', 'main.ts'), 'utf8');
    const [program, ...rest] = gateway.initContainers[0].args as string[];
    expect(program).toBe('dist/sidecar-auth/kubernetes/gateway/main.js');
    const unknown = rest.filter((word) => !source.includes(` --${word.slice(2).split('=')[0]} `));
    expect(unknown).toEqual([]);
  });

  it('gives the token of the API server to sidecar-auth alone', () => {
    const pod = render().find(({ metadata, kind }) => kind === 'Deployment' && metadata.name === 'postern-gateway')
      ?.spec.template.spec;
    expect(pod.automountServiceAccountToken).toBe(false);
    const mounts = (container: { volumeMounts: { name: string }[] }) => container.volumeMounts.map(({ name }) => name);
    expect(mounts(pod.initContainers[0])).toContain('token');
    expect(mounts(pod.containers[0])).toEqual(['run']);
  });

  it('writes the base configuration that both programs read, the default instance first', () => {
    const instance = (name: string) => ({ name, serviceCredentials: { secretName: name } });
    const integration = {
      destinationService: { defaultInstanceName: 'b', instances: [instance('a'), instance('b')] },
      connectivityProxy: { serviceName: 'proxy.sap', credentials: { secretName: 'connectivity' } },
    };
    const map = render(`config.integration=${JSON.stringify(integration)}`).find(
      ({ metadata, kind }) => kind === 'ConfigMap' && metadata.name === 'postern-base',
    );
    expect(parse(map?.data['postern.yaml'])).toEqual({
      log: { level: 'info' },
      destinations: {
        services: [
          { name: 'b', binding: '/etc/postern/bindings/b' },
          { name: 'a', binding: '/etc/postern/bindings/a' },
        ],
      },
      connectivity: { host: 'proxy.sap', port: 20004, token: { binding: '/etc/postern/connectivity' } },
      grants: { secret: { namespace: 'mail', name: 'postern-grants' } },
    });
  });

  it('installs no gateway in the mode istio', () => {
    const names = render('mode="istio"').map(({ kind, metadata }) => `${kind} ${metadata.name}`);
    expect(names.filter((name) => name.includes('gateway'))).toEqual([]);
    expect(names).toContain('Deployment postern-operator');
  });
});
