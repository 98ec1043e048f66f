import type { Arm } from '../arms/arm.ts';
import * as dovecot from '../arms/dovecot.ts';
import * as emailproxy from '../arms/emailproxy.ts';
import { startEnvoyArm } from '../arms/envoy.ts';
import * as nginx from '../arms/nginx.ts';
import { type PosternOptions, startPostern } from '../arms/postern.ts';
import type { Stage } from '../stage.ts';
import type { Way } from '../way.ts';

export interface Ways {
  ways: Way[];
  notes: string[];
}

/** Everything that can do SMTP with a password and without TLS to the server; email-oauth2-proxy stands beside, with TLS and a token. */
export async function plainWays(stage: Stage): Promise<Ways> {
  const notes = ['A silent app begins with MAIL, as in SAP\'s examples; "postern, EHLO" is one that says EHLO first.'];
  const own = await postern(stage, { name: 'postern', transport: 'plain' });
  const ways = [
    direct(stage),
    logsIn(await envoy(stage, { name: 'envoy' })),
    logsIn(await envoy(stage, { name: 'envoy shared pool', poolPerConnection: false })),
    { ...logsIn(await envoy(stage, { name: 'pass filter', wasm: stage.passFilter })), isCompiled: true },
    silent(own),
    { ...silent(own), name: 'postern, EHLO', hello: true },
    silent(await postern(stage, { name: 'postern shared pool', transport: 'plain', edit: 'shared-pool' })),
    ...(await unlessMissing('nginx', nginx.missing(), notes, () => stage.add(nginx.start(stage.options())))),
    ...(await unlessMissing('dovecot', dovecot.missing(), notes, () => stage.add(dovecot.start(stage.options())))),
    ...(await emailProxy(stage, notes)),
  ];
  return { ways, notes };
}

export async function tokenWays(stage: Stage): Promise<Ways> {
  const ways = [
    logsIn(await envoy(stage, { name: 'envoy' }), 'XOAUTH2'),
    silent(await postern(stage, { name: 'postern', transport: 'plain', authentication: 'OAuth2' })),
  ];
  return { ways, notes: [] };
}

export async function tlsWays(stage: Stage): Promise<Ways> {
  const notes: string[] = [];
  const plainEnvoy = await envoy(stage, { name: 'envoy tls', tls: true });
  const toDovecot = () => stage.add(dovecot.start({ ...stage.options(), transport: 'tls' }));
  const ways = [
    logsIn(plainEnvoy),
    { ...logsIn(plainEnvoy, 'XOAUTH2'), name: 'envoy tls xoauth2' },
    silent(await postern(stage, { name: 'postern tls', transport: 'tls' })),
    silent(await postern(stage, { name: 'postern tls xoauth2', transport: 'tls', authentication: 'OAuth2' })),
    ...(await unlessMissing('dovecot tls', dovecot.missing(), notes, toDovecot)),
  ];
  return { ways, notes };
}

function direct(stage: Stage): Way {
  return { name: 'direct', ports: stage.upstream, login: 'PLAIN' };
}

function logsIn(arm: Arm, login: 'PLAIN' | 'XOAUTH2' = 'PLAIN'): Way {
  return { name: arm.name, ports: arm.ports, arm, login };
}

function silent(arm: Arm): Way {
  return { name: arm.name, ports: arm.ports, arm, isCompiled: true };
}

function envoy(stage: Stage, options: { name: string; wasm?: string; tls?: boolean; poolPerConnection?: boolean }) {
  return stage.add(startEnvoyArm({ ...stage.options(), envoy: stage.envoy, ...options }));
}

function postern(stage: Stage, options: Omit<PosternOptions, 'directory' | 'upstream' | 'ca' | 'tokenUrl'>) {
  return stage.add(startPostern({ ...stage.options(), tokenUrl: stage.tokenUrl, ...options }));
}

/** With a note in its place where it can't run. */
async function unlessMissing(name: string, reason: string | undefined, notes: string[], start: () => Promise<Arm>) {
  if (reason === undefined) return [logsIn(await start())];
  notes.push(`${name} is left out: it needs ${reason}.`);
  return [];
}

/** It comes from PyPI when it is first used: without the network it is left out. */
async function emailProxy(stage: Stage, notes: string[]): Promise<Way[]> {
  const name = 'email-oauth2-proxy';
  try {
    const start = () => stage.add(emailproxy.start(stage.options()));
    const ways = await unlessMissing(name, emailproxy.missing(), notes, start);
    if (ways.length > 0) notes.push(`${name} has 4 sessions at once, and logs in with a token by TLS.`);
    return ways.map((way) => ({ ...way, atOnce: 4, sessions: stage.quick ? 16 : 60, threadsEnd: true }));
  } catch (error) {
    notes.push(`${name} is left out: ${(error as Error).message.split('\n')[0]}`);
    return [];
  }
}
