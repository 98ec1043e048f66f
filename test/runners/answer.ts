import type { Dialog } from './dialog.ts';
import { fields, tokenSession } from './helper-events.ts';

export { fields } from './helper-events.ts';

/** The answer of POST /v1/sessions (docs/contract.md) that a dialog's settings stand for. */
export function sessionAnswer(dialog: Dialog, extra: Record<string, string | string[]> = {}): string {
  const { login, app } = dialog;
  return fields({
    route: 'route1',
    destination: 'mail',
    ...(dialog.relay ? { to: 'relay' } : { to: 'direct', address: '192.0.2.1:2525' }),
    hello: 'postern.test',
    deadline: '30000',
    limit: '1000',
    keep: '60',
    login: login ? 'basic' : 'none',
    ...(login && { user: login.user, password: login.password, plain: `\0${login.user}\0${login.password}` }),
    ...tokenSession(dialog),
    ...(app && { 'app.user': app.user, 'app.password': app.password }),
    ...(dialog.preauth && { greeting: 'preauth' }),
    ...extra,
  });
}
