import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { begin, beginWithToken, fetchText, retrieveOnly, sendMail } from '../live/apps.ts';
import { describeLive } from '../live/available.ts';
import { deliver } from '../live/mailbox.ts';
import { Wire } from '../live/wire.ts';
import { tokenFor } from './mail.ts';
import type { Place } from './place.ts';
import { baseOf, type MailProtocol, type ProxyType, ROWS, type Row } from './rows.ts';
import { type Stage, startStage } from './stage.ts';

/** One of the three grants is exchanged as the others: the rows of two are enough. */
function withTokens(proxyType: ProxyType, protocols: MailProtocol[]): Row[] {
  return ROWS.filter((row) => row.proxyType === proxyType && protocols.includes(row.protocol)).filter(
    ({ authentication, app }) =>
      authentication === 'OAuth2RefreshToken' || (authentication === 'OAuth2ClientCredentials' && app === 'silent'),
  );
}

const isSmtp = (protocol: MailProtocol) => baseOf(protocol) === 'smtp';

/** With STARTTLS, with TLS from the first byte and through the Cloud Connector are three ways of one and the same login: one of each is enough. */
const ROWS_HERE = [...withTokens('OnPremise', ['smtp']), ...withTokens('Internet', ['pop3', 'imap', 'smtps'])];

/** The replies that invite a retry (docs/errors.md). */
const RETRY = { smtp: /: 4\d\d /, imap: /\* BYE \[UNAVAILABLE\]|NO \[UNAVAILABLE\]/, pop3: /-ERR \[SYS\/TEMP\]/ };

const START_TIMEOUT = 120_000;

/** An app's whole dialogue. Throws an Error with the first answer that was not right. */
async function session({ row, user, port }: Place, token: string | undefined): Promise<void> {
  const protocol = baseOf(row.protocol);
  const wire = await Wire.open(port);
  try {
    if (token === undefined) await begin(wire, protocol, 'silent');
    else await beginWithToken(wire, protocol, user, token);
    if (protocol === 'smtp') await sendMail(wire, 'silent', user, 'Subject: again\r\n\r\nagain\r\n');
    else await (protocol === 'imap' ? fetchText(wire) : retrieveOnly(wire));
  } finally {
    wire.close();
  }
}

/** Access tokens that the provider issued to the place's client, and how often the mail server was told that one of them is no good. */
function witnesses({ provider }: Stage, { name }: Place) {
  const tokens = provider.log.filter(({ client }) => client === name).map(({ tokenId }) => tokenId);
  const refused = provider.checks.filter(({ tokenId, active }) => tokens.includes(tokenId) && !active);
  return { tokens: tokens.length, refused: refused.length };
}

describeLive('An access token that was revoked at the provider', () => {
  describe('at servers that keep the connection open', () => {
    let stage: Stage;
    beforeAll(async () => {
      stage = await startStage(ROWS_HERE);
    }, START_TIMEOUT);
    afterAll(() => stage?.close());

    it.each(ROWS_HERE)('costs no app an error: $proxyType $protocol $authentication', async (row) => {
      const { place } = stage.of(row);
      const token = await tokenFor(stage, place);
      if (baseOf(row.protocol) !== 'smtp') await deliver(stage.postfix, place, 'Subject: one\r\n\r\none\r\n');
      await session(place, token);
      await session(place, token);
      expect(witnesses(stage, place)).toEqual({ tokens: 1, refused: 0 });
      expect(stage.provider.revokeAccessTokens(place.user)).toBe(1);
      await session(place, token);
      expect(witnesses(stage, place)).toEqual({ tokens: 2, refused: 1 });
      // what is kept now is the new one, but for the moment until Envoy's other worker has heard of it
      await session(place, token);
      const { tokens, refused } = witnesses(stage, place);
      expect(tokens).toBe(2);
      expect(refused).toBeLessThanOrEqual(2);
    });

    // one session at a time is all that a mailbox lets in by POP3
    const together = ROWS_HERE.filter(({ protocol }) => baseOf(protocol) !== 'pop3');
    it.each(together)('$proxyType $protocol $authentication: many apps at once', async (row) => {
      const { place } = stage.of(row);
      const token = await tokenFor(stage, place);
      await session(place, token);
      const before = witnesses(stage, place);
      stage.provider.revokeAccessTokens(place.user);
      await Promise.all(Array.from({ length: 8 }, () => session(place, token)));
      // each of Envoy's two workers may have kept the old one; the new one is asked for once
      expect(witnesses(stage, place).tokens).toBe(before.tokens + 1);
    });
  });

  /** Postfix closes by itself (where `errorLimit` says so), also in TLS; in front of Dovecot stands what closes for it. */
  const CLOSING = [
    { server: 'Postfix', options: { errorLimit: 1 }, rows: ROWS_HERE.filter(({ protocol }) => isSmtp(protocol)) },
    { server: 'Dovecot', options: { closing: true }, rows: withTokens('OnPremise', ['imap', 'pop3']) },
  ];

  describe.each(CLOSING)('at a $server that closes after a refusal', ({ options, rows }) => {
    let stage: Stage;
    beforeAll(async () => {
      // Envoy's other worker hears of the drop a moment later than the app that tries again at once.
      stage = await startStage(rows, { ...options, workers: 1 });
    }, START_TIMEOUT);
    afterAll(() => stage?.close());

    it.each(rows)(
      'costs one reply that invites a retry, which works: $proxyType $protocol $authentication',
      async (row) => {
        const { place } = stage.of(row);
        const protocol = baseOf(row.protocol);
        const token = await tokenFor(stage, place);
        if (protocol !== 'smtp') await deliver(stage.postfix, place, 'Subject: one\r\n\r\none\r\n');
        await session(place, token);
        stage.provider.revokeAccessTokens(place.user);
        await expect(session(place, token)).rejects.toThrow(RETRY[protocol]);
        // sidecar-auth asks for the next one at once, which may come before the app has its error.
        expect(witnesses(stage, place).refused).toBe(1);
        await session(place, token);
        expect(witnesses(stage, place)).toEqual({ tokens: 2, refused: 1 });
      },
    );
  });
});
