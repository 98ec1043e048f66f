import type { Goal } from '../result.ts';

/** Plain Envoy has the same cluster and the same upstream; the app logs in itself there. */
export function againstPlainEnvoy(title: string, arm = 'postern', base = 'envoy'): Goal[] {
  return [
    { text: `${title}: CPU per session against plain Envoy`, metric: 'cpu', arm, base, atMost: 1.05 },
    { text: `${title}: sessions/s against plain Envoy`, metric: 'rate', arm, base, atLeast: 1 },
  ];
}

export function againstOthers(title: string): Goal[] {
  return [
    ...againstPlainEnvoy(`${title}, one pool for all in both`, 'postern shared pool', 'envoy shared pool'),
    { text: `${title}: CPU per session against nginx`, metric: 'cpu', arm: 'postern', base: 'nginx', atMost: 0.9 },
  ];
}

export function withTls(title: string, withDovecot: boolean): Goal[] {
  return [
    ...againstPlainEnvoy(`${title}, Basic`, 'postern tls', 'envoy tls'),
    ...againstPlainEnvoy(`${title}, XOAUTH2`, 'postern tls xoauth2', 'envoy tls xoauth2'),
    ...(withDovecot ? [againstDovecot(title)] : []),
  ];
}

function againstDovecot(title: string): Goal {
  const text = `${title}, XOAUTH2: CPU per session against Dovecot's proxy`;
  return { text, metric: 'cpu', arm: 'postern tls xoauth2', base: 'dovecot tls', atMost: 0.3 };
}
