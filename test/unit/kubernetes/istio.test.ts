import { describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { bootstrap } from '../../../envoy/bootstrap.ts';
import { listenersResource } from '../../../envoy/listener.ts';
import {
  destinationFilter,
  type Workload,
  workloadFilter,
} from '../../../sidecar-auth/kubernetes/istio/envoy-filter.ts';
import { listenerId } from '../../../sidecar-auth/kubernetes/istio/listener-id.ts';
import { yamlOf } from '../../../sidecar-auth/kubernetes/istio/manifests.ts';
import { meshFiles } from '../../../sidecar-auth/kubernetes/istio/run-dir.ts';
import { meshService } from '../../../sidecar-auth/kubernetes/istio/service.ts';
import { injectionTemplate, injectionValues } from '../../../sidecar-auth/kubernetes/istio/template.ts';

const WORKLOAD: Workload = { name: 'mail', namespace: 'crm', labels: { app: 'crm' }, kind: 'sidecar' };
const { runDir, caFile, filterFile } = meshFiles();

interface Patched {
  spec: {
    priority: number;
    workloadSelector: object;
    configPatches: { applyTo: string; match: object; patch: { operation: string; value: Record<string, unknown> } }[];
  };
}

function patches(filter: object, applyTo: string) {
  return (filter as Patched).spec.configPatches.filter((patch) => patch.applyTo === applyTo);
}

const values = (filter: object, applyTo: string) => patches(filter, applyTo).map(({ patch }) => patch.value);

describe('an EnvoyFilter', () => {
  it('adds the clusters and the fallback of Envoy’s own bootstrap', () => {
    const { static_resources: own } = bootstrap({ runDir, caFile }) as {
      static_resources: { clusters: object[]; listeners: object[] };
    };
    const filter = workloadFilter(WORKLOAD);
    expect(values(filter, 'CLUSTER')).toEqual(own.clusters);
    expect(values(filter, 'LISTENER')).toEqual(own.listeners);
  });

  it('gives a connection attempt its share of loginTimeout', () => {
    const [direct] = values(workloadFilter(WORKLOAD, { loginTimeout: 5 }), 'CLUSTER');
    expect(direct).toMatchObject({ connect_timeout: '2s' });
  });

  it('puts the filters of Envoy’s own listener before and into tcp_proxy, the first one by ECDS', () => {
    const id = 'smtp:5b1d0c9a22f8e713';
    const listener = { id, address: { host: '127.0.0.1', port: 1 }, exactBalance: false };
    const { resources } = listenersResource([listener], filterFile) as {
      resources: { filter_chains: { filters: { typed_config: object }[] }[] }[];
    };
    const [wasm, share, proxy] = resources[0]?.filter_chains[0]?.filters ?? [];
    const filter = destinationFilter(WORKLOAD, { id, port: 2587 });
    expect(values(filter, 'EXTENSION_CONFIG')).toEqual([{ name: 'postern-2587', typed_config: wasm?.typed_config }]);
    const [discovered, ...rest] = values(filter, 'NETWORK_FILTER');
    expect(discovered).toMatchObject({ name: 'postern-2587', config_discovery: { config_source: { ads: {} } } });
    expect(rest).toEqual([share, proxy]);
    expect(patches(filter, 'NETWORK_FILTER').map(({ patch }) => patch.operation)).toEqual([
      'INSERT_BEFORE',
      'INSERT_BEFORE',
      'MERGE',
    ]);
  });

  it.each([
    ['sidecar', 'SIDECAR_OUTBOUND'],
    ['egress', 'GATEWAY'],
  ] as const)('of a workload of kind %s is for %s', (kind, context) => {
    const workload = { ...WORKLOAD, kind };
    for (const filter of [workloadFilter(workload), destinationFilter(workload, { id: 'smtp:a', port: 2587 })]) {
      const { configPatches, workloadSelector, priority } = (filter as unknown as Patched).spec;
      expect(configPatches.every(({ match }) => (match as { context: string }).context === context)).toBe(true);
      expect({ workloadSelector, priority }).toEqual({ workloadSelector: { labels: { app: 'crm' } }, priority: 10 });
    }
  });

  it('has names of its own for each destination', () => {
    const names = [2587, 2143].map((port) => destinationFilter(WORKLOAD, { id: 'smtp:a', port }).metadata.name);
    expect([workloadFilter(WORKLOAD).metadata.name, ...names]).toEqual(['mail', 'mail-2587', 'mail-2143']);
  });
});

describe('a Service of the mesh', () => {
  it('has ports that say TCP, or istiod would wait for the client’s first byte', () => {
    const service = meshService('mail', 'crm', [
      { protocol: 'smtp', port: 2587 },
      { protocol: 'imap', port: 2143 },
    ]);
    expect(service.spec).toEqual({
      ipFamilyPolicy: 'PreferDualStack',
      ports: [
        { name: 'tcp-smtp-2587', port: 2587, protocol: 'TCP' },
        { name: 'tcp-imap-2143', port: 2143, protocol: 'TCP' },
      ],
    });
  });
});

describe('a listener id without FILE', () => {
  it('is the one of the address that FILE must have', () => {
    expect(listenerId('sidecar', 'smtp', 2587)).toMatch(/^smtp:[0-9a-f]{16}$/);
    expect(listenerId('egress', 'smtp', 2587)).not.toBe(listenerId('sidecar', 'smtp', 2587));
  });
});

describe('the YAML', () => {
  it('has no anchors, and says the same', () => {
    const manifests = [workloadFilter(WORKLOAD), destinationFilter(WORKLOAD, { id: 'smtp:a', port: 2587 })];
    const text = yamlOf(manifests);
    expect(text).not.toMatch(/^[^"']*[&*][a-z]\d/m);
    expect(parseAllDocuments(text).map((document) => document.toJS())).toEqual(manifests);
  });
});

describe('the injection template', () => {
  const [first = '', ...rest] = injectionTemplate('registry.example/postern:1').split('\n');
  const { spec } = parse(rest.join('\n').replace(/(runAs\w+): .*/g, '$1: 1337'));

  it('refuses a pod whose proxy would start first', () => {
    expect(first).toContain('fail "Postern must start before istio-proxy');
  });

  it('shares the folder of sockets with istio-proxy, and the files with nobody', () => {
    const [postern] = spec.initContainers;
    expect(postern).toMatchObject({ restartPolicy: 'Always', image: 'registry.example/postern:1' });
    expect(spec.containers).toEqual([
      { name: 'istio-proxy', volumeMounts: [{ name: 'postern-run', mountPath: runDir }] },
    ]);
    expect(spec.volumes).toMatchObject([{ emptyDir: { medium: 'Memory' } }, { secret: { defaultMode: 0o444 } }]);
  });

  it('has istio-proxy’s user, which the redirection lets out', () => {
    expect(injectionTemplate('x')).toContain('runAsUser: {{ .ProxyUID | default "1337" }}\n');
  });

  it('comes as values for istiod’s chart', () => {
    const values = parse(injectionValues('x'));
    expect(values.sidecarInjectorWebhook.templates.postern).toBe(injectionTemplate('x'));
  });
});
