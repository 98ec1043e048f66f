import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createCertificates } from '../../demo/certificates.ts';
import { type MailServer, startMailServer } from '../../demo/mail-server/server.ts';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { availableOf } from '../../sidecar-auth/kubernetes/operator/status.ts';
import { begin, fetchText, retrieveOnly, sendMail } from '../live/apps.ts';
import type { Wire } from '../live/wire.ts';
import { Cluster, MANAGED, PLAIN } from './cluster.ts';
import { eventually } from './eventually.ts';
import { GatewayPod } from './gateway-process.ts';
import { skipReason } from './programs.ts';

const reason = skipReason();
const USER = 'office@example.test';
const PASSWORD = 'password of the office';
const TEXT = 'Nobody logged in for this.';
const MESSAGE = `From: <${USER}>\r\nTo: <${USER}>\r\nSubject: cluster\r\n\r\n${TEXT}\r\n`;
const MANAGED_SELECTOR = Object.entries(MANAGED)
  .map((pair) => pair.join('='))
  .join(',');
/** From `kubectl apply` on to an answer of every gateway. */
const SOON_MS = 5_000;
/** For 500 of them, with two gateways and their Envoys on the same few processors as the control plane. */
const BULK_MS = 180_000;

/** Gateways of other tests may run on this machine, too. */
function somePorts(): string {
  const first = 10_000 + 1_000 * Math.floor(Math.random() * 20);
  return `${first}-${first + 999}`;
}

describe.skipIf(reason)(reason ? `Two gateways (skipped: ${reason})` : 'Two gateways', () => {
  let cluster: Cluster;
  let server: MailServer;
  let gateways: GatewayPod[];

  beforeAll(async () => {
    cluster = await Cluster.start();
    const certificates = await createCertificates(cluster.directory);
    const tls = await certificates.issue('mail', { addresses: ['127.0.0.1'] });
    server = await startMailServer({ accounts: { [USER]: PASSWORD }, tls });
    await cluster.addNamespace('shop', MANAGED);
    await cluster.addNamespace('thief', MANAGED);
    await cluster.startOperator(['--managed-namespaces', MANAGED_SELECTOR, '--ports', somePorts()]);
    const pod = (name: string, address: string) =>
      GatewayPod.start({ cluster, name, address, caFile: certificates.caFile, managedNamespaces: MANAGED_SELECTOR });
    gateways = await Promise.all([pod('one', '127.0.3.1'), pod('two', '127.0.3.2')]);
  });
  afterAll(async () => {
    await cluster?.close();
    await server?.close();
  });

  /** The keys of a Secret with a plain destination. */
  const properties = (protocol: Protocol, password = PASSWORD) => ({
    Type: 'MAIL',
    ProxyType: 'Internet',
    Authentication: 'BasicAuthentication',
    'mail.transport.protocol': `${protocol}s`,
    [`mail.${protocol}s.host`]: '127.0.0.1',
    [`mail.${protocol}s.port`]: String(server.ports.tls[protocol]),
    'mail.user': USER,
    'mail.password': password,
  });

  const portOf = async (namespace: string, name: string) => {
    const { status } = await cluster.settled(namespace, name);
    const port = status?.ports?.[0]?.port;
    if (port === undefined) throw new Error(`${namespace}/${name} has no port`);
    return port;
  };

  /** What `use` does with a connection to this port, tried again until it works. */
  const answers = (gateway: GatewayPod, port: number, use: (wire: Wire) => Promise<unknown>) =>
    eventually(
      `${gateway.address}:${port} answers`,
      async () => {
        const wire = await gateway.connect(port);
        try {
          await use(wire);
          return true;
        } finally {
          wire.close();
        }
      },
      { log: gateway.logs[0] ?? '' },
    );

  const inbox = () => {
    const mailbox = server.store.mailbox(USER, 'INBOX');
    if (!mailbox) throw new Error('there is no INBOX');
    return mailbox;
  };
  const withOneMessage = () => {
    inbox().remove(new Set(inbox().messages));
    inbox().add(MESSAGE);
  };

  const SESSIONS: Record<Protocol, (wire: Wire) => Promise<void>> = {
    smtp: async (wire) => {
      await begin(wire, 'smtp', 'silent');
      await sendMail(wire, 'silent', USER, MESSAGE);
      expect(inbox().messages.at(-1)?.content).toContain(TEXT);
    },
    imap: async (wire) => {
      withOneMessage();
      await begin(wire, 'imap', 'silent');
      expect(await fetchText(wire)).toContain(TEXT);
    },
    pop3: async (wire) => {
      withOneMessage();
      await begin(wire, 'pop3', 'silent');
      expect(await retrieveOnly(wire)).toContain(TEXT);
    },
  };

  test.each(['smtp', 'imap', 'pop3'] as const)('carry %s within 5 s of a new resource', async (protocol) => {
    await cluster.putSecret('shop', protocol, properties(protocol));
    const since = performance.now();
    await cluster.put('shop', protocol, { secretRef: { name: protocol }, protocol });
    const port = await portOf('shop', protocol);
    for (const gateway of gateways) await answers(gateway, port, SESSIONS[protocol]);
    expect(performance.now() - since).toBeLessThan(SOON_MS);
  });

  test('do not log in with a Secret of another namespace', async () => {
    const logins = server.logins.length;
    await cluster.put('thief', 'mine', { secretRef: { name: 'smtp' }, protocol: 'smtp' });
    const port = await portOf('thief', 'mine');
    for (const gateway of gateways) {
      await answers(gateway, port, async (wire) => {
        expect(await wire.expect(/\r\n/)).toMatch(/^554 5\.3\.5 postern: thief\/mine: unknown_destination: /);
      });
    }
    expect(server.logins.length).toBe(logins);
  });

  test('close the port of a resource that goes; a session that runs goes on', async () => {
    await cluster.put('shop', 'short', { secretRef: { name: 'smtp' }, protocol: 'smtp' });
    const port = await portOf('shop', 'short');
    const [gateway] = gateways;
    if (!gateway) throw new Error('no gateway');
    await answers(gateway, port, (wire) => wire.expect(/^220 /));
    const wire = await gateway.connect(port);
    await wire.expect(/^220 .*\r\n/);
    await cluster.remove('shop', 'short');
    await eventually('nobody listens', async () => {
      const late = await gateway.connect(port).catch(() => undefined);
      late?.close();
      return late ? undefined : true;
    });
    expect(await wire.ask('NOOP', /\r\n/)).toMatch(/^250 /);
    wire.close();
  });

  test('go on while the API server is away', async () => {
    const port = await portOf('shop', 'smtp');
    await cluster.plane.stopApiServer();
    for (const gateway of gateways) await answers(gateway, port, SESSIONS.smtp);
    await cluster.plane.startApiServer();
    await cluster.put('shop', 'afterwards', { secretRef: { name: 'smtp' }, protocol: 'smtp' });
    const next = await portOf('shop', 'afterwards');
    for (const gateway of gateways) await answers(gateway, next, SESSIONS.smtp);
  });

  test(
    'answer for 500 resources, and for one more within 5 s',
    async () => {
      const names = Array.from({ length: 500 }, (_, index) => `bulk-${index}`);
      for (let at = 0; at < names.length; at += 25) {
        await Promise.all(
          names.slice(at, at + 25).map((name) => cluster.put('shop', name, { ...PLAIN, secretRef: { name: 'smtp' } })),
        );
      }
      const begun = performance.now();
      const available = async () => {
        const done = (await cluster.list('shop')).filter(({ status }) => availableOf(status)?.status === 'True');
        if (done.length >= names.length) return true;
        throw new Error(`${done.length} are`);
      };
      await eventually('all are available', available, { ms: BULK_MS });
      const last = await portOf('shop', 'bulk-499');
      for (const gateway of gateways) await answers(gateway, last, SESSIONS.smtp);
      console.log(`500 resources answer after ${Math.round(performance.now() - begun)} ms`);
      await sleep(1_000);
      const since = performance.now();
      await cluster.put('shop', 'one-more', { ...PLAIN, secretRef: { name: 'smtp' } });
      const port = await portOf('shop', 'one-more');
      for (const gateway of gateways) await answers(gateway, port, SESSIONS.smtp);
      const took = Math.round(performance.now() - since);
      console.log(`with 500 resources a new one answers on both gateways after ${took} ms`);
      expect(took).toBeLessThan(SOON_MS);
    },
    2 * BULK_MS,
  );
});
