import { chmodSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { type Dovecot, startDovecot } from '../../test/live/dovecot.ts';
import { deliver } from '../../test/live/mailbox.ts';
import { type Postfix, startPostfix } from '../../test/live/postfix.ts';
import { createCertificates } from '../certificates.ts';
import { type OpenIdProvider, SCOPE } from '../openid-provider.ts';
import { USER } from '../properties.ts';
import { type DemoMail, WELCOME } from '../world.ts';

export interface RealMail extends DemoMail {
  dovecot: Dovecot;
  postfix: Postfix;
}

/** Dovecot and Postfix as the tests start them, with a mailbox of the demo's user. */
export async function startRealMail(
  directory: string,
  home: string,
  password: string,
  provider: OpenIdProvider,
): Promise<RealMail> {
  mkdirSync(home, { recursive: true });
  chmodSync(home, 0o711);
  const certificates = await createCertificates(path.join(directory, 'certificates'));
  const { cert, key } = await certificates.issue('localhost', { addresses: ['127.0.0.1', '::1'] });
  const pem = { certificate: cert, key };
  const oauth = { introspectionUrl: provider.introspectionUrl('mail'), scope: SCOPE };
  const dovecot = await startDovecot(home, { ...pem, users: { [USER]: password }, oauth });
  const postfix = await startPostfix(home, { ...pem, dovecot });
  await deliver(postfix, { user: USER, password }, WELCOME);
  return {
    dovecot,
    postfix,
    ports: {
      plain: { smtp: postfix.submission, imap: dovecot.imap, pop3: dovecot.pop3 },
      tls: { smtp: postfix.smtps, imap: dovecot.imaps, pop3: dovecot.pop3s },
    },
    close: async () => {
      await postfix.stop();
      await dovecot.stop();
    },
  };
}
