import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Protocol } from '../../sidecar-auth/failure.ts';
import { begin, fetchText, retrieveOnly, sendMail } from '../live/apps.ts';
import type { Wire } from '../live/wire.ts';
import { skipReason } from './lab.ts';
import { PROTOCOLS, type Purpose, portOf, USER } from './mail.ts';
import type { Pod } from './pod.ts';
import { CRM, EGRESS, type Stage, startStage } from './stage.ts';

/** The control planes and four proxies start in half a minute; a busy machine needs more. */
const START = 240_000;

const reason = skipReason();

const TEXT = 'Nobody logged in for this.';
const MESSAGE = `From: <${USER}>\r\nTo: <${USER}>\r\nSubject: mesh\r\n\r\n${TEXT}\r\n`;

/** What an application sees in the place of a greeting. */
const ERRORS: Record<Protocol, RegExp> = {
  smtp: /^421 4\.\d+\.\d+ postern: /,
  imap: /^\* BYE \[UNAVAILABLE\] postern: /,
  pop3: /^-ERR \[SYS\/(TEMP|PERM)\] postern: /,
};

/** A whole session in which the application never logs in. */
const SESSIONS: Record<Protocol, (wire: Wire, stage: Stage) => Promise<void>> = {
  smtp: async (wire, { mail }) => {
    await sendMail(wire, 'silent', USER, MESSAGE);
    expect(inbox(mail.server).messages.at(-1)?.content).toContain(TEXT);
  },
  imap: async (wire, { mail }) => {
    withOneMessage(mail.server);
    expect(await fetchText(wire)).toContain(TEXT);
  },
  pop3: async (wire, { mail }) => {
    withOneMessage(mail.server);
    expect(await retrieveOnly(wire)).toContain(TEXT);
  },
};

function inbox(server: Stage['mail']['server']) {
  const mailbox = server.store.mailbox(USER, 'INBOX');
  if (!mailbox) throw new Error('there is no INBOX');
  return mailbox;
}

function withOneMessage(server: Stage['mail']['server']): void {
  const mailbox = inbox(server);
  mailbox.remove(new Set(mailbox.messages));
  mailbox.add(MESSAGE);
}

describe.skipIf(reason)(reason ? `Postern in an Istio mesh (skipped: ${reason})` : 'Postern in an Istio mesh', () => {
  let stage: Stage;

  beforeAll(async () => {
    stage = await startStage();
  }, START);
  afterAll(() => stage?.close(), START);

  async function dial(pod: Pod, namespace: string, protocol: Protocol, purpose?: Purpose): Promise<Wire> {
    return pod.dial(await stage.service(namespace), portOf(protocol, purpose));
  }

  async function session(pod: Pod, namespace: string, protocol: Protocol, purpose?: Purpose): Promise<void> {
    const wire = await dial(pod, namespace, protocol, purpose);
    try {
      await begin(wire, protocol, 'silent');
      const before = stage.mail.server.logins.length;
      await SESSIONS[protocol](wire, stage);
      expect(stage.mail.server.logins.slice(before)).toMatchObject([{ user: USER }]);
    } finally {
      wire.close();
    }
  }

  async function refusal(pod: Pod, namespace: string, protocol: Protocol, purpose?: Purpose): Promise<string> {
    const wire = await dial(pod, namespace, protocol, purpose);
    try {
      return await wire.expect(/^.*\r\n/);
    } finally {
      wire.close();
    }
  }

  describe('a sidecar', () => {
    it.each(PROTOCOLS)('carries a silent %s session', (protocol) => session(stage.pods.app, CRM, protocol));

    it.each(PROTOCOLS)('gives a %s error where the server is down', async (protocol) => {
      expect(await refusal(stage.pods.app, CRM, protocol, 'down')).toMatch(ERRORS[protocol]);
    });

    it('gives an error of each protocol where sidecar-auth is down, and goes on when it is back', async () => {
      await stage.pods.app.stopHelper();
      for (const protocol of PROTOCOLS)
        expect(await refusal(stage.pods.app, CRM, protocol, 'late')).toMatch(ERRORS[protocol]);
      await stage.restartHelper();
      for (const protocol of PROTOCOLS) await session(stage.pods.app, CRM, protocol, 'late');
    });

    it('of another pod is left alone', async () => {
      const config = await stage.pods.client.admin('/config_dump?mask=dynamic_listeners');
      expect(config).not.toContain('postern');
    });
  });

  describe('an egress gateway', () => {
    it.each(PROTOCOLS)('carries a silent %s session from a sidecar with mutual TLS', (protocol) =>
      session(stage.pods.client, EGRESS, protocol),
    );

    it.each(PROTOCOLS)('gives a %s error where the server is down', async (protocol) => {
      expect(await refusal(stage.pods.client, EGRESS, protocol, 'down')).toMatch(ERRORS[protocol]);
    });

    it.each(PROTOCOLS)('logs in for no pod of another namespace by %s', async (protocol) => {
      const before = stage.mail.server.logins.length;
      const wire = await dial(stage.pods.stranger, EGRESS, protocol);
      try {
        wire.send({ smtp: `MAIL FROM:${USER}\r\n`, imap: '1 SELECT INBOX\r\n', pop3: 'list\r\n' }[protocol]);
        expect(await wire.rest()).not.toMatch(/^(250|1 OK|\+OK 1 )/m);
      } finally {
        wire.close();
      }
      expect(stage.mail.server.logins).toHaveLength(before);
    });

    it('says nothing to whoever has no certificate of the mesh', async () => {
      const address = stage.pods.gateway.address;
      const before = stage.mail.server.logins.length;
      const probe = `const socket = require('node:net').connect(${portOf('smtp')}, '${address}');
        socket.write('MAIL FROM:x\\r\\n'); socket.on('data', (data) => process.stdout.write(data));
        socket.on('error', () => {}).on('close', () => process.exit()); setTimeout(() => process.exit(), 2000);`;
      expect(await stage.pods.gateway.execute([process.execPath, '-e', probe])).toBe('');
      expect(stage.mail.server.logins).toHaveLength(before);
    });
  });

  describe('what postern istio prints', () => {
    it.each(['sidecar', 'egress'] as const)('is valid to istioctl, for a %s', async (kind) => {
      const lines = (await stage.plane.istioctl(['validate', '-f', stage.manifests[kind]])).split('\n').filter(Boolean);
      const bad = lines.filter(
        (line) => !/is valid| has warnings: $|exposes internal implementation details/.test(line),
      );
      expect(bad).toEqual([]);
    });

    it('gives istioctl analyze nothing else to say', async () => {
      await stage.plane.declareInjector();
      const words = ['analyze', '--all-namespaces', '--output', 'json', '--failure-threshold', 'Error'];
      const found = JSON.parse(await stage.plane.istioctl(words)) as {
        code: string;
        origin: string;
        message: string;
      }[];
      // IST0133: EnvoyFilter exposes internal implementation details.
      const ours = found.filter(({ origin, code }) => /\b(crm|mail-egress)\b/.test(origin) && code !== 'IST0133');
      expect(ours.map(({ code, message }) => `${code}: ${message}`)).toEqual([]);
    });

    it('is taken by every Envoy', async () => {
      expect(await stage.plane.metrics()).not.toMatch(/^pilot_total_xds_rejects.* [1-9]/m);
    });
  });
});
