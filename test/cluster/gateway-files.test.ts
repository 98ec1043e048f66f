import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ROOT } from '../../cli/paths.ts';
import type { Daemon } from '../live/daemon.ts';
import { listening, session } from '../unit/kubernetes/gateway-session.ts';
import { Cluster, GATEWAY_NAMESPACE, PLAIN } from './cluster.ts';
import { eventually } from './eventually.ts';
import { skipReason } from './programs.ts';
import { startProgram } from './start-program.ts';

const MAIN = join(ROOT, 'sidecar-auth', 'kubernetes', 'gateway', 'main.ts');
const MAIL = {
  Type: 'MAIL',
  ProxyType: 'Internet',
  Authentication: 'BasicAuthentication',
  'mail.transport.protocol': 'smtps',
  'mail.smtps.host': '192.0.2.1',
  'mail.user': 'jane',
  'mail.password': 'geheim-1',
};
/** Milliseconds until a new resource answers (issue 11). */
const NEW_MS = 5_000;

let cluster: Cluster;
let gateway: Daemon;
const runDir = () => join(cluster.directory, 'run');

/** Without Envoy: what it would read, and what its filter would be told. */
async function startGateway(): Promise<Daemon> {
  const words = [
    ...['--folder', join(cluster.directory, 'private'), '--run-dir', runDir(), '--filter', '/filter.wasm'],
    ...['--gateway-namespace', GATEWAY_NAMESPACE, '--address', '127.0.0.1'],
  ];
  const env = { KUBECONFIG: cluster.plane.kubeconfig('gateway') };
  return cluster.keep(await startProgram([process.execPath, MAIN, ...words], log(), env));
}

const log = () => join(cluster.directory, 'gateway.log');

async function portOf(namespace: string, name: string): Promise<number> {
  return (await cluster.settled(namespace, name)).status?.ports?.[0]?.port ?? 0;
}

async function told(port: number, text: string, ms?: number): Promise<void> {
  const look = async () => {
    const answer = await session(runDir(), port);
    if (answer.includes(text)) return true;
    throw new Error(answer);
  };
  await eventually(`the filter is told: ${text}`, look, { log: log(), ...(ms !== undefined && { ms }) });
}

describe.skipIf(skipReason() !== undefined)('the files of a gateway', () => {
  beforeAll(async () => {
    cluster = await Cluster.start();
    await cluster.startOperator();
    gateway = await startGateway();
    await gateway.logged(/"ready"/, 30_000);
    for (const name of ['shop', 'bank']) await cluster.addNamespace(name);
    await cluster.putSecret('shop', 'mail', MAIL);
  });
  afterAll(() => cluster?.close());

  it('a new resource answers', async () => {
    await cluster.put('shop', 'office', PLAIN);
    const port = await portOf('shop', 'office');
    await told(port, 'password: geheim-1', NEW_MS);
    await told(port, 'destination: shop/office');
    expect(listening(runDir())).toContain(`"port_value": ${port}`);
  });

  it('a Secret of another namespace is refused, and a gateway can not list any', async () => {
    await cluster.put('bank', 'office', PLAIN);
    await told(await portOf('bank', 'office'), 'failure: unknown_destination');
    const asked = [
      'auth',
      'can-i',
      'list',
      'secrets',
      '-A',
      '--as',
      `system:serviceaccount:${GATEWAY_NAMESPACE}:postern-gateway`,
    ];
    await expect(cluster.plane.kubectl(asked)).rejects.toThrow('no');
  });

  it('another password', async () => {
    await cluster.putSecret('shop', 'mail', { ...MAIL, 'mail.password': 'geheim-2' });
    await told(await portOf('shop', 'office'), 'password: geheim-2');
  });

  it('the API server is away, and the container starts again', async () => {
    const port = await portOf('shop', 'office');
    await cluster.plane.stopApiServer();
    await gateway.stop();
    gateway = await startGateway();
    await told(port, 'password: geheim-2');
    await cluster.plane.startApiServer();
    await cluster.putSecret('shop', 'other', MAIL);
    await cluster.put('shop', 'other', { ...PLAIN, secretRef: { name: 'other' } });
    await told(await portOf('shop', 'other'), 'password: geheim-1');
  });

  it('a resource goes', async () => {
    const port = await portOf('shop', 'office');
    await cluster.remove('shop', 'office');
    const gone = async () => (listening(runDir()).includes(`"port_value": ${port}`) ? undefined : true);
    await eventually('the listener is gone', gone, { log: log() });
  });
});
