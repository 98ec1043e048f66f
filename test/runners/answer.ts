import type { Dialog } from './dialog.ts';

/** A body of docs/contract.md; a list repeats its key. */
export function fields(values: Record<string, string | string[]>): string {
  const lines = Object.entries(values).flatMap(([key, value]) => [value].flat().map((one) => line(key, one)));
  return lines.join('');
}

const line = (key: string, value: string) => `${key}: ${Buffer.from(value, 'latin1').toString('base64')}\n`;

/** The answer of POST /v1/sessions (docs/contract.md) that a dialog's settings stand for. */
export function sessionAnswer(dialog: Dialog, extra: Record<string, string | string[]> = {}): string {
  const { login, app } = dialog;
  return fields({
    route: 'route1',
    destination: 'mail',
    to: 'direct',
    address: '192.0.2.1:2525',
    hello: 'postern.test',
    deadline: '30000',
    limit: '1000',
    keep: '60',
    login: login ? 'basic' : 'none',
    ...(login && { user: login.user, password: login.password, plain: `\0${login.user}\0${login.password}` }),
    ...(app && { 'app.user': app.user, 'app.password': app.password }),
    ...(dialog.preauth && { greeting: 'preauth' }),
    ...extra,
  });
}
