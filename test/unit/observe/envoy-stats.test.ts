import { expect, it } from 'vitest';
import { envoyFamilies } from '../../../sidecar-auth/observe/envoy-stats.ts';
import { openMetrics } from '../../../sidecar-auth/observe/openmetrics.ts';
import type { Entry } from '../../../sidecar-auth/route/table.ts';
import { readOpenMetrics, valuesOf } from './check.ts';
import { FakeAdmin, healthy } from './fake-admin.ts';

function entry(listenerId: string, destination: string, address: Entry['listener']['address'], tenant?: string): Entry {
  const listener = { destination, address, maxConnections: 1, maxConnectionsSet: false };
  const protocol = listenerId.replace(/:.*/, '') as Entry['protocol'];
  return { listenerId, protocol, loginTimeout: 30, listener: { ...listener, ...(tenant && { service: { tenant } }) } };
}

const SMTP = entry('smtp:0a1b', 'office', { host: '127.0.0.1', port: 1587 });
const IMAP = entry('imap:2c-3_d', 'team/box', { host: '::', port: 1143 }, 'acme');
const POP3 = entry('pop3:4e5f', 'plant', { path: '/tmp/a.b/pop3.sock', mode: 0o600 });
const OF_SMTP = { destination: 'office', protocol: 'smtp', listener: '127.0.0.1:1587' };
const OF_IMAP = { destination: 'team/box', tenant: 'acme', protocol: 'imap', listener: '[::]:1143' };
const OF_POP3 = { destination: 'plant', protocol: 'pop3', listener: '/tmp/a.b/pop3.sock' };

const STATS = `listener.127.0.0.1_1587.downstream_cx_active: 3
listener.127.0.0.1_1587.downstream_cx_total: 12
listener.127.0.0.1_1587.worker_0.downstream_cx_active: 3
listener.127.0.0.1_9999.downstream_cx_active: 1
listener.[__]_1143.downstream_cx_active: 2
listener.[__]_1143.downstream_cx_total: 2
listener./tmp/a.b/pop3.sock.downstream_cx_active: 0
listener./tmp/a.b/pop3.sock.downstream_cx_total: 5
listener./tmp/postern-x/fallback-smtp.sock.downstream_cx_active: 8
listener.admin.downstream_cx_active: 1
listener.admin.main_thread.downstream_cx_active: 1
tcp.postern.downstream_cx_rx_bytes_total: 1000
tcp.postern.downstream_cx_total: 20
tcp.postern.downstream_cx_tx_bytes_total: 2000
wasmcustom.postern.imap.2c-3_d.failure.rejected.xoauth2: 4
wasmcustom.postern.imap.2c-3_d.login.xoauth2: 2
wasmcustom.postern.pop3.4e5f.login.command: 5
wasmcustom.postern.smtp.0a1b.failure.server_greeting: 1
wasmcustom.postern.smtp.0a1b.login.plain: 11
wasmcustom.postern.smtp.gone.login.plain: 99
wasmcustom.postern.vm.1.memory_bytes: 131072
wasmcustom.postern.vm.2.memory_bytes: 65536
`;

const CONNECTS = `# TYPE envoy_cluster_upstream_cx_connect_ms histogram
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="0.5"} 0
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="5"} 1
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="25"} 3
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="100"} 4
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="500"} 4
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="2500"} 4
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="10000"} 4
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="3.6e+06"} 4
envoy_cluster_upstream_cx_connect_ms_bucket{envoy_cluster_name="postern-direct-tls",le="+Inf"} 4
envoy_cluster_upstream_cx_connect_ms_sum{envoy_cluster_name="postern-direct-tls"} 51.5
envoy_cluster_upstream_cx_connect_ms_count{envoy_cluster_name="postern-direct-tls"} 4
`;

async function families(answers: FakeAdmin['answers'], entries = [SMTP, IMAP, POP3]) {
  const { socket } = await FakeAdmin.start(answers);
  return readOpenMetrics(openMetrics(await envoyFamilies(socket, entries)));
}

const FULL: FakeAdmin['answers'] = { ...healthy(), '/stats': [200, STATS], '/stats/prometheus': [200, CONNECTS] };

it('logins by destination, protocol, mechanism and outcome; those of listeners that are gone have no name', async () => {
  expect(valuesOf(await families(FULL), 'postern_logins')).toEqual([
    [{ ...OF_IMAP, mechanism: 'xoauth2', outcome: 'rejected' }, 4],
    [{ ...OF_IMAP, mechanism: 'xoauth2', outcome: 'ok' }, 2],
    [{ ...OF_POP3, mechanism: 'command', outcome: 'ok' }, 5],
    [{ ...OF_SMTP, outcome: 'server_greeting' }, 1],
    [{ ...OF_SMTP, mechanism: 'plain', outcome: 'ok' }, 11],
  ]);
});

it("connections by destination, and the sums under SAP's names", async () => {
  const missing = entry('smtp:6789', 'missing', { host: '127.0.0.1', port: 2587 });
  const read = await families(FULL, [SMTP, IMAP, POP3, missing]);
  expect(valuesOf(read, 'postern_listeners')).toEqual([
    [{ state: 'configured' }, 4],
    [{ state: 'open' }, 3],
  ]);
  expect(valuesOf(read, 'postern_open_connections')).toEqual([
    [OF_SMTP, 3],
    [OF_IMAP, 2],
    [OF_POP3, 0],
  ]);
  expect(valuesOf(read, 'postern_connections')).toEqual([
    [OF_SMTP, 12],
    [OF_IMAP, 2],
    [OF_POP3, 5],
  ]);
  // With the session of a listener that is gone; without admin, workers' shares and fallback.
  expect(valuesOf(read, 'tp_open_tcp_connections')).toEqual([[{}, 6]]);
  expect(read.get('tp_tcp_connections')?.samples).toEqual([
    { name: 'tp_tcp_connections_total', labels: {}, value: 20 },
  ]);
  expect(valuesOf(read, 'postern_vm_memory_bytes')).toEqual([
    [{ vm: '1' }, 131072],
    [{ vm: '2' }, 65536],
  ]);
  expect(valuesOf(read, 'postern_envoy_up')).toEqual([[{}, 1]]);
});

it("Envoy's connect times, in seconds", async () => {
  const read = await families(FULL);
  const values = valuesOf(read, 'postern_envoy_connect_seconds')?.map(([{ le, cluster }, value]) => [
    le,
    cluster,
    value,
  ]);
  expect(values).toEqual(
    [
      ['0.005', 1],
      ['0.025', 3],
      ['0.1', 4],
      ['0.5', 4],
      ['2.5', 4],
      ['10.0', 4],
      ['+Inf', 4],
      [undefined, 4],
      [undefined, 0.0515],
    ].map(([le, value]) => [le, 'postern-direct-tls', value]),
  );
});

it('an Envoy that does not answer is down, and nothing else is said', async () => {
  const read = await families({ ...healthy(), '/stats': [503, ''] });
  expect([...read.keys()]).toEqual(['postern_envoy_up']);
  expect(valuesOf(read, 'postern_envoy_up')).toEqual([[{}, 0]]);
});
