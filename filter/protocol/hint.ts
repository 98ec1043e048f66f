/** What some providers say when they refuse a login, and what it means: their own texts send people the wrong way. */
class Hint {
  constructor(
    /** What the server's text holds. */
    readonly text: string,
    /** To who came with a token. */
    readonly token: string,
    /** To who came with a password. */
    readonly password: string,
  ) {}
}

const SMTP_AUTH_OFF =
  'SMTP AUTH is switched off for the mailbox or the tenant, or a policy blocks it (aka.ms/smtp_auth_disabled)';
const EXCHANGE_TOKEN =
  "for Exchange Online the user must be the mailbox's address, and the token must be for outlook.office365.com; an app of its own needs the service principal (object id of the Enterprise application) and rights on the mailbox";
const EXCHANGE_PASSWORD = 'Exchange Online takes no passwords any more: use OAuth2';
const GMAIL_TOKEN = 'Gmail wants a token of this very user, with scope https://mail.google.com/';
const GMAIL_PASSWORD = 'Gmail wants an app password, which needs 2-step verification, or OAuth2';

/** The first one that fits. */
const HINTS: Hint[] = [
  // learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission; email-oauth2-proxy 193
  new Hint('5.7.139', SMTP_AUTH_OFF, SMTP_AUTH_OFF),
  // learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth; email-oauth2-proxy 66, 77, 193, 288
  new Hint('5.7.3 Authentication unsuccessful', EXCHANGE_TOKEN, EXCHANGE_PASSWORD),
  new Hint('NO AUTHENTICATE failed', EXCHANGE_TOKEN, EXCHANGE_PASSWORD),
  new Hint('NO LOGIN failed', EXCHANGE_TOKEN, EXCHANGE_PASSWORD),
  new Hint('Authentication failure: unknown user name or bad password', EXCHANGE_TOKEN, EXCHANGE_PASSWORD),
  // support.google.com/a/answer/3726730 and developers.google.com/gmail/imap/xoauth2-protocol
  new Hint('5.7.8 Username and Password not accepted', GMAIL_TOKEN, GMAIL_PASSWORD),
  new Hint('5.7.9', GMAIL_TOKEN, GMAIL_PASSWORD),
];

/** The hint for a server's refusal, with what sets it apart from that, or nothing. */
export function hintFor(text: string, byToken: bool): string {
  for (let i = 0; i < HINTS.length; i++) {
    if (!text.includes(HINTS[i].text)) continue;
    return ` (${byToken ? HINTS[i].token : HINTS[i].password})`;
  }
  return '';
}
