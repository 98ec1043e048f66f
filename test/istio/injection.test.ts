import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments, stringify } from 'yaml';
import { isExecutable } from '../../cli/find-program.ts';
import { injectionValues } from '../../sidecar-auth/kubernetes/istio/template.ts';
import { binary } from './lab.ts';

const istioctl = binary('istioctl');
const reason = isExecutable(istioctl) ? undefined : `not there: ${istioctl}`;

const ANNOTATIONS = {
  'inject.istio.io/templates': 'sidecar,postern',
  'sidecar.istio.io/nativeSidecar': 'false',
  'connectivity.postern.dev/secret': 'mail',
};

interface Container {
  name: string;
  restartPolicy?: string;
  securityContext?: { runAsUser?: number };
  volumeMounts?: { name: string }[];
}

describe.skipIf(reason)(reason ? `The injection template (skipped: ${reason})` : 'The injection template', () => {
  let directory: string;

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'injection-'));
    writeInjector(directory);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** What Istio's injector makes of a Deployment, without a cluster. */
  function injected(annotations: Record<string, string>) {
    const file = join(directory, 'deployment.yaml');
    const template = {
      metadata: { labels: { app: 'crm' }, annotations },
      spec: { containers: [{ name: 'crm', image: 'crm:1' }] },
    };
    const spec = { selector: { matchLabels: { app: 'crm' } }, template };
    writeFileSync(file, stringify({ apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'crm' }, spec }));
    const words = ['kube-inject', '-f', file, '--meshConfigFile', join(directory, 'mesh.yaml')];
    const files = ['--injectConfigFile', join(directory, 'config'), '--valuesFile', join(directory, 'values')];
    // Without this it looks for a cluster, for ever.
    const alone = ['--kubeconfig', join(directory, 'none')];
    const text = execFileSync(istioctl, [...words, ...files, ...alone], { encoding: 'utf8', stdio: 'pipe' });
    return parseAllDocuments(text)[0]?.toJS().spec.template.spec as {
      initContainers: Container[];
      containers: Container[];
      volumes: { name: string; secret?: { secretName: string } }[];
    };
  }

  it('puts sidecar-auth before the redirection and the proxy, as its user', () => {
    const { initContainers } = injected(ANNOTATIONS);
    expect(initContainers.map(({ name }) => name)).toEqual(['postern', 'istio-init']);
    expect(initContainers[0]).toMatchObject({ restartPolicy: 'Always', securityContext: { runAsUser: 1337 } });
  });

  it('shares the sockets with istio-proxy, and gives the files to sidecar-auth alone', () => {
    const { initContainers, containers, volumes } = injected(ANNOTATIONS);
    const having = (volume: string) =>
      [...initContainers, ...containers]
        .filter(({ volumeMounts = [] }) => volumeMounts.some(({ name }) => name === volume))
        .map(({ name }) => name);
    expect(having('postern-run').sort()).toEqual(['istio-proxy', 'postern']);
    expect(having('postern-config')).toEqual(['postern']);
    expect(volumes.find(({ name }) => name === 'postern-config')?.secret?.secretName).toBe('mail');
  });

  it('refuses a pod whose proxy would start first', () => {
    const native = { ...ANNOTATIONS, 'sidecar.istio.io/nativeSidecar': 'true' };
    expect(() => injected(native)).toThrow('Postern must start before istio-proxy');
  });

  it('comes beside the proxy of a gateway, too', () => {
    const { initContainers, containers } = injected({ ...ANNOTATIONS, 'inject.istio.io/templates': 'gateway,postern' });
    expect(initContainers.map(({ name }) => name)).toEqual(['postern']);
    expect(containers.find(({ name }) => name === 'istio-proxy')?.volumeMounts?.map(({ name }) => name)).toContain(
      'postern-run',
    );
  });
});

/** The injector's configuration as istiod's chart makes it with the values that `postern istio --image` prints. */
function writeInjector(directory: string): void {
  const operator = join(directory, 'operator.yaml');
  const spec = { values: parse(injectionValues('registry.example/postern-sidecar-auth:1')) };
  writeFileSync(operator, stringify({ apiVersion: 'install.istio.io/v1alpha1', kind: 'IstioOperator', spec }));
  const text = execFileSync(istioctl, ['manifest', 'generate', '-f', operator], {
    encoding: 'utf8',
    stdio: 'pipe',
    maxBuffer: 32 * 1024 * 1024,
  });
  const objects = parseAllDocuments(text).map((document) => document.toJS());
  const data = (name: string) => objects.find((one) => one?.kind === 'ConfigMap' && one.metadata.name === name)?.data;
  const { config, values } = data('istio-sidecar-injector');
  writeFileSync(join(directory, 'config'), config);
  writeFileSync(join(directory, 'values'), values);
  writeFileSync(join(directory, 'mesh.yaml'), data('istio').mesh);
}
