import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { envoyBinary } from '../../../cli/envoy-binary.ts';
import { bootstrap } from '../../../envoy/bootstrap.ts';
import { writeCaBundle } from '../../../envoy/ca-bundle.ts';
import { runDirFiles } from '../../../envoy/run-dir.ts';

interface Cluster {
  name: string;
  connection_pool_per_downstream_connection?: boolean;
  circuit_breakers: { thresholds: Record<string, number>[] };
  // biome-ignore lint/suspicious/noExplicitAny: Envoy's configuration, looked at here and there
  [key: string]: any;
}

let runDir: string;
beforeAll(() => {
  runDir = mkdtempSync(join(tmpdir(), 'postern-'));
});
afterAll(() => rmSync(runDir, { recursive: true, force: true }));

function made(): { clusters: Cluster[]; json: string } {
  const config = bootstrap({ runDir, caFile: runDirFiles(runDir).caFile });
  const { static_resources } = config as { static_resources: { clusters: Cluster[] } };
  return { clusters: static_resources.clusters, json: JSON.stringify(config) };
}

test('Envoy accepts it, and not with a misspelt key', async () => {
  const { bootstrapFile, caFile } = runDirFiles(runDir);
  writeCaBundle(caFile, []);
  const binary = await envoyBinary();
  const validate = (json: string) => {
    writeFileSync(bootstrapFile, json);
    return spawnSync(binary, ['--mode', 'validate', '-l', 'error', '-c', bootstrapFile], { encoding: 'utf8' });
  };
  const { json } = made();
  const { status, stderr } = validate(json);
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(validate(json.replace('connect_timeout', 'connect_time_out')).status).not.toBe(0);
});

describe('what must not be forgotten', () => {
  test('the clusters of docs/contract.md', () => {
    expect(made().clusters.map(({ name }) => name)).toEqual([
      'postern-direct',
      'postern-direct-tls',
      'postern-direct-preconnect',
      'postern-direct-tls-preconnect',
      'postern-relay',
      'postern-helper',
      'postern-blackhole',
      'postern-fallback-smtp',
      'postern-fallback-imap',
      'postern-fallback-pop3',
    ]);
  });

  test('every cluster has its limits above those of Envoy', () => {
    for (const { name, circuit_breakers } of made().clusters) {
      const [threshold = {}] = circuit_breakers.thresholds;
      for (const key of ['max_connections', 'max_pending_requests', 'max_requests']) {
        expect(threshold[key], `${name} ${key}`).toBeGreaterThan(1024);
      }
    }
  });

  test('sessions to mail servers share no pool', () => {
    const alone = made().clusters.filter((cluster) => cluster.connection_pool_per_downstream_connection);
    expect(alone.map(({ name }) => name)).toEqual(['postern-direct', 'postern-direct-tls', 'postern-relay']);
  });

  test('where connections stand ready they come from a shared pool: with both, they leak', () => {
    const ready = made().clusters.filter(({ name }) => name.endsWith('-preconnect'));
    expect(ready).toHaveLength(2);
    for (const cluster of ready) {
      expect(cluster).toMatchObject({ preconnect_policy: { per_upstream_preconnect_ratio: 1.5 } });
      expect(cluster).not.toHaveProperty('connection_pool_per_downstream_connection');
    }
  });

  test.each(['postern-direct-tls', 'postern-direct-tls-preconnect'])(
    'a TLS connection of %s whose name was not set fits no certificate',
    (cluster) => {
      const tls = made().clusters.find(({ name }) => name === cluster);
      expect(tls?.transport_socket.typed_config).toMatchObject({ sni: 'unset.invalid', auto_sni_san_validation: true });
    },
  );

  test('nothing listens on TCP, and every socket is for its owner alone', () => {
    const config = bootstrap({ runDir, caFile: 'ca.pem' }) as {
      admin: { address: { pipe: { mode: number } } };
      static_resources: { listeners: { address: { pipe: { mode: number } } }[] };
    };
    expect(JSON.stringify(config)).not.toContain('socket_address');
    for (const { address } of [config.admin, ...config.static_resources.listeners]) {
      expect(address.pipe.mode).toBe(0o600);
    }
  });
});
