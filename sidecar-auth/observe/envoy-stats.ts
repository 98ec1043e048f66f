import { askAdmin } from '../../envoy/admin.ts';
import type { Entry } from '../route/table.ts';
import { labelsOf } from './labels.ts';
import { BOUNDS, histogramSamples } from './meters.ts';
import type { Family, Labels, Sample } from './openmetrics.ts';

/** Milliseconds for Envoy's answer: Prometheus gives a scrape 10 s. */
const ENVOY_MS = 4_000;

const WANTED = [
  'wasmcustom\\.postern\\.',
  'listener\\..*\\.downstream_cx_(active|total)$',
  'tcp\\.postern\\.downstream_cx_(total|[rt]x_bytes_total)$',
];
const STATS = `/stats?filter=${encodeURIComponent(`^(${WANTED.join('|')})`)}`;
const CONNECTS = `/stats/prometheus?filter=${encodeURIComponent('^cluster\\.postern-direct.*\\.upstream_cx_connect_ms$')}`;

type Stats = Map<string, number>;

/** What Envoy and the filter in it count, by destination. Where Envoy does not answer, `postern_envoy_up` 0 is all. */
export async function envoyFamilies(adminSocket: string, entries: Entry[]): Promise<Family[]> {
  const texts = await Promise.all([STATS, CONNECTS].map((path) => askAdmin(adminSocket, path, ENVOY_MS))).catch(
    () => [],
  );
  const [text, connects] = texts;
  const up = gauge('postern_envoy_up', 'Whether Envoy answers.', [{ labels: {}, value: text === undefined ? 0 : 1 }]);
  if (text === undefined || connects === undefined) return [up];
  const stats = readStats(text);
  return [up, ...filterFamilies(stats, entries), ...connections(stats, entries), connectTimes(connects)];
}

function readStats(text: string): Stats {
  return new Map([...text.matchAll(/^(.+): (\d+)$/gm)].map(([, name = '', value]) => [name, Number(value)]));
}

/** docs/contract.md, "Counters of the filter". */
const LOGIN = /^wasmcustom\.postern\.(smtp|imap|pop3)\.([\w-]+)\.(?:login|failure\.(\w+))(?:\.(\w+))?$/;
const MEMORY = /^wasmcustom\.postern\.vm\.(\d+)\.memory_bytes$/;

function filterFamilies(stats: Stats, entries: Entry[]): Family[] {
  const listeners = new Map(entries.map((entry) => [entry.listenerId, labelsOf(entry)]));
  const logins = [...stats].flatMap(([name, value]): Sample[] => {
    const [, protocol, opaque, failure = 'ok', mechanism = ''] = LOGIN.exec(name) ?? [];
    const labels = listeners.get(`${protocol}:${opaque}`);
    return labels ? [{ labels: { ...labels, mechanism, outcome: failure }, value }] : [];
  });
  const memory = [...stats].flatMap(([name, value]): Sample[] => {
    const vm = MEMORY.exec(name)?.[1];
    return vm === undefined ? [] : [{ labels: { vm }, value }];
  });
  return [
    counter('postern_logins', 'Logins at mail servers; outcome is ok or the failure.', logins),
    gauge('postern_vm_memory_bytes', "Memory of the filter's WebAssembly VMs, one for each worker of Envoy.", memory),
  ];
}

function connections(stats: Stats, entries: Entry[]): Family[] {
  const ofListeners = (what: string) =>
    entries.flatMap((entry): Sample[] => {
      const value = stats.get(`${statPrefix(entry)}.downstream_cx_${what}`);
      return value === undefined ? [] : [{ labels: labelsOf(entry), value }];
    });
  const total = (what: string, labels: Labels = {}): Sample[] => [
    { labels, value: stats.get(`tcp.postern.downstream_cx_${what}`) ?? 0 },
  ];
  const active = ofListeners('active');
  return [
    gauge('postern_listeners', 'Listeners that the configuration wants, and those that Envoy has.', [
      { labels: { state: 'configured' }, value: entries.length },
      { labels: { state: 'open' }, value: active.length },
    ]),
    gauge('postern_open_connections', 'Connections of applications that are open.', active),
    counter('postern_connections', 'Connections of applications.', ofListeners('total')),
    counter('postern_bytes', 'Octets of all applications.', [
      ...total('rx_bytes_total', { direction: 'from_application' }),
      ...total('tx_bytes_total', { direction: 'to_application' }),
    ]),
    // SAP's Transparent Proxy calls the same so. Of all listeners, those included that are gone but have sessions.
    gauge('tp_open_tcp_connections', 'Open TCP connections.', [{ labels: {}, value: openConnections(stats) }]),
    counter('tp_tcp_connections', 'TCP connections.', total('total')),
  ];
}

/** Envoy's name for a listener: its address, and `_` in place of colons. */
function statPrefix(entry: Entry): string {
  return `listener.${labelsOf(entry).listener?.replaceAll(':', '_')}`;
}

/** Each listener has a number of its own and one for each worker; neither Envoy's admin interface nor its fallback is an application's. */
function openConnections(stats: Stats): number {
  const ours = [...stats].filter(
    ([name]) =>
      /^listener\..*\.downstream_cx_active$/.test(name) &&
      !/^listener\.admin\.|\.worker_\d+\.|\.main_thread\.|\/fallback-\w+\.sock\./.test(name),
  );
  return ours.reduce((sum, [, value]) => sum + value, 0);
}

const CONNECT = /^envoy_cluster_upstream_cx_connect_ms_(bucket|sum|count)\{(.*)\} (\S+)$/gm;

/** Connecting to servers that Envoy reaches itself: TCP, with `postern-direct-tls` TLS as well. Envoy tells the two no further apart. */
function connectTimes(text: string): Family {
  const values = new Map<string, Map<string, number>>();
  for (const [, what = '', pairs = '', value] of text.matchAll(CONNECT)) {
    const cluster = label(pairs, 'envoy_cluster_name');
    const known = values.get(cluster) ?? new Map<string, number>();
    values.set(cluster, known.set(`${what}${label(pairs, 'le')}`, Number(value)));
  }
  const samples = [...values].flatMap(([cluster, known]) => {
    const of = (key: string) => known.get(key) ?? 0;
    const counts = [...BOUNDS.map((seconds) => of(`bucket${seconds * 1000}`)), of('count')];
    return histogramSamples({ cluster }, counts, of('sum') / 1000);
  });
  const help = 'Time until a connection of Envoy to a mail server stood, by its cluster.';
  return { name: 'postern_envoy_connect_seconds', type: 'histogram', help, samples };
}

function label(pairs: string, name: string): string {
  return new RegExp(`(?:^|,)${name}="([^"]*)"`).exec(pairs)?.[1] ?? '';
}

function gauge(name: string, help: string, samples: Sample[]): Family {
  return { name, type: 'gauge', help, samples };
}

function counter(name: string, help: string, samples: Sample[]): Family {
  return { name, type: 'counter', help, samples };
}
