import { join } from 'node:path';
import { pipeCluster } from './clusters.ts';

type Protocol = 'smtp' | 'imap' | 'pop3';

/**
 * What an app sees where no server could be reached and the filter, which knows more, is not alive to put its own error in
 * this one's place. RFC 5321 4.2.1 with RFC 3463, RFC 9051 7.1.5 with RFC 5530, RFC 1939 3 with RFC 3206.
 */
const REPLIES: Record<Protocol, string> = {
  smtp: '421 4.4.1 postern: the mail server could not be reached\r\n',
  imap: '* BYE [UNAVAILABLE] postern: the mail server could not be reached\r\n',
  pop3: '-ERR [SYS/TEMP] postern: the mail server could not be reached\r\n',
};

const PROTOCOLS = Object.keys(REPLIES) as Protocol[];

export function fallbackClusters(runDir: string): object[] {
  return PROTOCOLS.map((protocol) => pipeCluster(name(protocol), socket(runDir, protocol)));
}

/** Envoy's own listeners, on the file system and not in the abstract namespace, where anyone could take the name first. */
export function fallbackListeners(runDir: string): object[] {
  return PROTOCOLS.map((protocol) => ({
    name: name(protocol),
    address: { pipe: { path: socket(runDir, protocol), mode: 0o600 } },
    // Its connections are the second half of ones that are counted already.
    ignore_global_conn_limit: true,
    filter_chains: [{ filters: [directResponse(REPLIES[protocol])] }],
  }));
}

function directResponse(text: string): object {
  return {
    name: 'envoy.filters.network.direct_response',
    typed_config: {
      '@type': 'type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config',
      response: { inline_string: text },
    },
  };
}

function name(protocol: Protocol): string {
  return `postern-fallback-${protocol}`;
}

function socket(runDir: string, protocol: Protocol): string {
  return join(runDir, `fallback-${protocol}.sock`);
}
