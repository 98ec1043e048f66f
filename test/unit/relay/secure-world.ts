import { once } from 'node:events';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, type SecureVersion, TLSSocket } from 'node:tls';
import {
  type Certificate,
  type Certificates,
  createCertificates,
  type IssueOptions,
} from '../../../demo/certificates.ts';
import { startConnectivityProxy } from '../../../demo/connectivity-proxy.ts';
import type { Protocol } from '../../../sidecar-auth/failure.ts';
import type { TlsSecurity } from '../../../sidecar-auth/relay/tls.ts';
import type { RelayTarget } from '../../../sidecar-auth/relay-target.ts';
import type { Resolve } from '../../../sidecar-auth/route/resolve.ts';
import { afterwards, relay, server, temporaryFolder } from './world.ts';

export const NAME = 'mail.example';
export const PROTOCOLS: Protocol[] = ['smtp', 'imap', 'pop3'];
export const GREETINGS: Record<Protocol, string> = { smtp: '220 mail', imap: '* OK hi', pop3: '+OK hi' };
/** The relay's own, in place of those. */
export const OWN: Record<Protocol, string> = {
  smtp: `220 ${NAME} ESMTP\r\n`,
  imap: '* OK ready\r\n',
  pop3: '+OK ready\r\n',
};

/** Every name leads to this machine. */
export const loopback: Resolve = async () => ({ addresses: ['127.0.0.1'], keep: 1 });

export async function authority(): Promise<Certificates> {
  return await createCertificates(await temporaryFolder());
}

export async function certificate(by: Certificates, options: IssueOptions = {}): Promise<Certificate> {
  return await by.issue(NAME, options);
}

export interface Script {
  protocol: Protocol;
  /** Answers by command (EHLO, STARTTLS, STLS), without the last CRLF; in the place of the usual ones. */
  answers?: Record<string, string>;
  greeting?: string;
  /** Writes one octet at a time. */
  slowly?: boolean;
  /** Sent in clear, after the go-ahead but in a write of its own. */
  afterwards?: string;
  versions?: { minVersion: SecureVersion; maxVersion: SecureVersion };
}

const USUAL: Record<Protocol, Record<string, string>> = {
  smtp: { EHLO: '250-mail\r\n250-STARTTLS\r\n250 HELP', STARTTLS: '220 go' },
  imap: { STARTTLS: 'p1 OK go' },
  pop3: { STLS: '+OK go' },
};

export interface MailServer {
  host: string;
  port: number;
  /** Everything that it was sent in clear. */
  clear(): string;
  /** TLS connections that stood, in their order, and whether they were resumed. */
  secured: TLSSocket[];
  resumed: boolean[];
}

export function contextOf({ cert, key }: Certificate, versions?: Script['versions']): SecureContext {
  return createSecureContext({ cert, key, ...versions });
}

/** Takes bare sockets over as a TLS server; `mail` gets the connections that stand. */
function protector(secureContext: SecureContext, mail: (socket: TLSSocket) => void) {
  const secured: TLSSocket[] = [];
  const resumed: boolean[] = [];
  const protect = (socket: Socket) => {
    const tls = new TLSSocket(socket, { isServer: true, secureContext });
    tls.on('error', () => {});
    afterwards(() => tls.destroy());
    tls.once('secure', () => {
      secured.push(tls);
      resumed.push(tls.isSessionReused());
      mail(tls);
    });
  };
  return { secured, resumed, protect };
}

/** A mail server with TLS from the first byte. */
export async function tlsServer(context: SecureContext, mail: (socket: TLSSocket) => void) {
  const protecting = protector(context, mail);
  return { ...(await server(protecting.protect)), ...protecting };
}

/** A mail server with STARTTLS. */
export async function startTlsServer(
  context: SecureContext,
  script: Script,
  mail: (socket: TLSSocket) => void,
): Promise<MailServer> {
  const { secured, resumed, protect } = protector(context, mail);
  const answers = { ...USUAL[script.protocol], ...script.answers };
  let clear = '';
  const place = await server((socket) => {
    const say = sayer(socket, script.slowly);
    void say(`${script.greeting ?? GREETINGS[script.protocol]}\r\n`);
    const onData = async (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      clear += text;
      const command =
        text
          .trim()
          .split(' ')
          .find((word) => word in answers) ?? '';
      const begins = command === 'STARTTLS' || command === 'STLS';
      if (begins) socket.off('data', onData).pause();
      await say(`${answers[command]}\r\n`);
      if (begins && script.afterwards) await say(script.afterwards);
      if (begins) protect(socket);
    };
    socket.on('data', onData);
  });
  return { ...place, clear: () => clear, secured, resumed };
}

function sayer(socket: Socket, slowly = false): (text: string) => Promise<void> {
  socket.setNoDelay();
  return async (text) => {
    for (const piece of slowly ? text : [text]) await new Promise<void>((done) => socket.write(piece, () => done()));
  };
}

/** What a mail server says and does under TLS: the greeting where there is one, and every byte back. */
export function echo(greeting = ''): (socket: Socket) => void {
  return (socket) => {
    if (greeting) socket.write(greeting);
    socket.pipe(socket);
  };
}

export const TLS: TlsSecurity = { kind: 'tls', name: NAME, verify: true };
export const STARTTLS: TlsSecurity = { kind: 'starttls', name: NAME, verify: true };

/** A relay to this server as a name in the Internet. */
export async function relayTo(place: { port: number }, ca: string, target: Partial<RelayTarget>) {
  return await relay({ host: NAME, port: place.port, ...target }, { ca, resolve: loopback });
}

/** The same behind the simulated Connectivity Proxy, which alone knows the virtual host. */
export async function relayThroughProxy(
  place: { host: string; port: number },
  ca: string,
  target: Partial<RelayTarget>,
  firstBytesWithReply = false,
) {
  const proxy = await startConnectivityProxy({
    tokens: 'none',
    locations: [''],
    hosts: { 'mail.virtual:25': place },
    firstBytesWithReply,
  });
  afterwards(() => proxy.close());
  const through = { proxy: { host: '127.0.0.1', port: proxy.port, token: { kind: 'none' as const } } };
  return { ...(await relay({ ...through, ...target }, { ca })), log: proxy.log };
}

export async function ended(socket: Socket): Promise<void> {
  if (!socket.readableEnded) await once(socket.resume(), 'end');
}
