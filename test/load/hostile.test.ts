// Applications and mail servers that want to fill the memory which all destinations of a worker share.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { askAdmin } from '../../envoy/admin.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import { freePorts } from '../live/daemon.ts';
import { Attacker } from './attacker.ts';
import type { Attackers } from './hostile-messages.ts';
import { PosternProcess } from './postern.ts';
import { LoadServers } from './processes.ts';
import { descriptorLimit } from './stage.ts';
import { Victim } from './victim.ts';

/** filter/limits.ts: octets that the connections of a VM may hold before their logins, and each of them in any case. */
const HELD_BY_VM = 16 << 20;
const HELD_BY_RIGHT = 4096;

const LONG_HELLOS = 600;
const HOLDERS = 3500;
const HOLDS = 40_000;
const ANSWERED = 900;
/** The most that may hold HOLDS octets at the same time. */
const ROOM = Math.floor(HELD_BY_VM / HOLDS);

/**
 * Octets that the VM's memory may grow to: what is held (16 MiB in all, and 4 KiB of each connection in any case) stands in
 * buffers that grow by half (x 1.5), and the collector begins when there is a quarter of the memory in garbage, at most as much as is live (x 2), while which
 * more comes (x 1.25): 112 MiB. AssemblyScript's allocator doubles the memory when it is full: 128 MiB, which
 * is half of the 1 GiB at which Envoy's wasm host refuses more and the VM traps.
 */
const NEEDED = (HELD_BY_VM + HOLDERS * HELD_BY_RIGHT) * 1.5 * 2 * 1.25;
const MEMORY = 2 ** Math.ceil(Math.log2(NEEDED));

/** A connection has an end in the attacker, two in Envoy and one at the server: the attacker serves too. */
const DESCRIPTORS = HOLDERS * 2 + 1000;
const LIMIT = '421 4.3.2 postern: NAME: limit: ';
const TIMEOUT = 60_000;
const LOGIN_SECONDS = 5;

const descriptors = await descriptorLimit();
const NAMES = ['victim', 'guarded', 'endless', 'large', 'silent', 'cold'] as const;
type Name = (typeof NAMES)[number];

describe.skipIf(descriptors < DESCRIPTORS)(`with ${descriptors} descriptors (${DESCRIPTORS} are needed)`, () => {
  const attacker = new Attacker();
  let directory: string;
  let servers: LoadServers;
  let postern: PosternProcess;
  let victim: Victim;
  let ports: Record<Name, number>;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'hostile-'));
    servers = await LoadServers.start([{ user: 'victim', password: 'secret' }]);
    const servedAt: Record<Name, number> = {
      victim: servers.ports[0] as number,
      guarded: await attacker.serve('250 ok\r\n'),
      endless: await attacker.serve(`250-${'A'.repeat(8100)}\r\n`.repeat(120)),
      large: await attacker.serve(large()),
      silent: await attacker.serve('', ''),
      cold: await attacker.serve('250 ok\r\n'),
    };
    const free = await freePorts(NAMES.length);
    ports = Object.fromEntries(NAMES.map((name, index) => [name, free[index]])) as Record<Name, number>;
    await writeFiles(directory, servedAt, ports);
    // One worker: everyone is in the victim's VM.
    postern = await PosternProcess.start(join(directory, 'postern.yaml'), 1);
  }, TIMEOUT);

  afterAll(async () => {
    await attacker.stop();
    await postern?.stop();
    await servers?.stop();
    await rm(directory, { recursive: true, force: true });
  });

  beforeEach(async () => {
    victim = await Victim.start(ports.victim);
  });

  afterEach(async () => {
    const { sessions, slowest } = victim;
    expect(await victim.stop()).toEqual([]);
    expect(sessions).toBeGreaterThan(0);
    await attacker.leave();
    expect(postern.log).not.toMatch(
      /Fatal error|Check failed|unreachable|trap|Wasm VM failed|proxy_on_\w+ failed|Function: /i,
    );
    console.log(
      `hostile: ${sessions} new sessions of the victim, the slowest ${slowest.toFixed(0)} ms; memory ${await memory()}`,
    );
    expect(await memory()).toBeLessThanOrEqual(MEMORY);
  });

  async function stats(filter: string): Promise<number[]> {
    const { adminSocket } = runDirFiles(postern.runDir);
    const text = await askAdmin(adminSocket, `/stats?filter=${filter}`);
    return [...text.matchAll(/^\S+: (\d+)$/gm)].map(([, value]) => Number(value));
  }

  /** Octets of the VM. */
  async function memory(): Promise<number> {
    const gauges = await stats('memory_bytes');
    expect(gauges).toHaveLength(1);
    return gauges[0] as number;
  }

  /** Until so many attackers have been told something. */
  async function told(count: number): Promise<Attackers> {
    const heard = async () => sum((await attacker.look()).heard);
    await expect.poll(heard, { timeout: 20_000, interval: 100 }).toBeGreaterThanOrEqual(count);
    return attacker.look();
  }

  /** Within the two seconds that a server has to close, only the victim is left: its session, and at times a new one. */
  async function expectAlone(): Promise<void> {
    const open = async () => sum(await stats('^listener%5C.[0-9._]%2B%5C.downstream_cx_active$'));
    await expect.poll(open, { timeout: 8000, interval: 100 }).toBeLessThanOrEqual(2);
  }

  /** After the attackers left: nothing of theirs counts as held, for as many as there is room for are let in again. */
  async function expectNothingKept(): Promise<void> {
    await attacker.leave();
    await expectAlone();
    const most = await memory();
    await attacker.open(ROOM - 50, ports.guarded, 'A'.repeat(HOLDS));
    await victim.seen(10);
    expect(await attacker.leave()).toEqual({ open: ROOM - 50, heard: {} });
    await expectAlone();
    console.log(`hostile: memory ${most} with the attack, ${await memory()} after the probe`);
  }

  test(`${LONG_HELLOS} greetings of 40 KiB of words`, { timeout: TIMEOUT }, async () => {
    await attacker.open(LONG_HELLOS, ports.guarded, `EHLO ${'a '.repeat(20_470)}\r\n`.replace(' \r', '\r'));
    const { open, heard } = await told(LONG_HELLOS);
    expect({ open, heard: sum(heard) }).toEqual({ open: LONG_HELLOS, heard: LONG_HELLOS });
    expect(heard['500 5.5.2 line too long']).toBeGreaterThan(0);
    // Where one worker happens to hold more than 16 MiB of them at once, the last ones are turned away.
    for (const line of Object.keys(heard)) expect(line).toMatch(/^500 5\.5\.2 line too long$| limit: /);
    await expectNothingKept();
  });

  test(`${HOLDERS} that hold ${HOLDS} octets of a line`, { timeout: TIMEOUT }, async () => {
    await attacker.open(HOLDERS, ports.guarded, 'A'.repeat(HOLDS));
    const { heard } = await told(HOLDERS - ROOM);
    await victim.seen(5);
    expect(Object.keys(heard)).toEqual([expect.stringContaining(LIMIT.replace('NAME', 'guarded'))]);
    // Those for whom there is room are let alone.
    expect(sum(heard)).toBeLessThan(HOLDERS - ROOM / 2);
    await expectNothingKept();
  });

  test(`${ANSWERED} whose server's answer never ends`, { timeout: TIMEOUT }, async () => {
    await attacker.open(ANSWERED, ports.endless, 'EHLO app.example\r\n');
    const { heard } = await told(ANSWERED);
    for (const line of Object.keys(heard)) expect(line).toContain(LIMIT.replace('NAME', 'endless'));
    await expectNothingKept();
  });

  test(`${ANSWERED} whose server's answer is as large as it may be, without a login`, {
    timeout: TIMEOUT,
  }, async () => {
    await attacker.open(ANSWERED, ports.large, 'EHLO app.example\r\n');
    const { heard } = await told(ANSWERED);
    // What they hold is counted: so many have room, and the others are told that there is none.
    const answered = heard[`250-${'A'.repeat(LINE)}`] ?? 0;
    expect(answered).toBeGreaterThan(0);
    expect(heard).toEqual({
      [`250-${'A'.repeat(LINE)}`]: answered,
      [`421 4.3.2 postern: large: limit: ${TOO_MANY}`]: ANSWERED - answered,
    });
    await expectNothingKept();
  });

  test(`${HOLDERS} that wait for the same answer of sidecar-auth`, { timeout: TIMEOUT }, async () => {
    const helper = await postern.helperPid();
    process.kill(helper, 'SIGSTOP');
    try {
      await attacker.open(HOLDERS, ports.cold, 'QUIT\r\n');
      const open = async () => sum(await stats('^listener%5C.[0-9._]%2B%5C.downstream_cx_active$'));
      await expect.poll(open, { timeout: 5000, interval: 100 }).toBeGreaterThan(HOLDERS);
    } finally {
      process.kill(helper, 'SIGCONT');
    }
    expect((await told(HOLDERS)).heard).toEqual({ '250 ok': HOLDERS });
    await expectNothingKept();
  });

  test(`${HOLDERS} whose server never says a word, until the deadline of all`, { timeout: TIMEOUT }, async () => {
    await attacker.open(HOLDERS, ports.silent, '');
    const open = async () => (await attacker.look()).open;
    await expect.poll(open, { timeout: 15_000, interval: 100 }).toBe(0);
    await expectNothingKept();
  });
});

const TOO_MANY = 'too many bytes of all connections wait for their logins';

/** Octets of a text in the large answer, and its lines: below 128 lines and 64 KiB, and the worst for whoever joins them one by one. */
const LINE = 480;
const LINES = 127;

function large(): string {
  const line = (end: string) => `250${end}${'A'.repeat(LINE)}\r\n`;
  return line('-').repeat(LINES - 1) + line(' ');
}

function sum(counts: Record<string, number> | number[]): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

async function writeFiles(
  directory: string,
  servedAt: Record<Name, number>,
  ports: Record<Name, number>,
): Promise<void> {
  await mkdir(join(directory, 'destinations'));
  for (const name of NAMES) {
    const destination = {
      Name: name,
      Type: 'MAIL',
      ProxyType: 'Internet',
      Authentication: 'BasicAuthentication',
      'mail.transport.protocol': 'smtp',
      'mail.smtp.host': '127.0.0.1',
      'mail.smtp.port': String(servedAt[name]),
      'mail.smtp.starttls.enable': 'false',
      'mail.user': 'victim',
      'mail.password': 'secret',
    };
    await writeFile(join(directory, 'destinations', `${name}.json`), JSON.stringify(destination));
  }
  const listeners = NAMES.map((name) => ({
    destination: name,
    address: `127.0.0.1:${ports[name]}`,
    ...(name === 'guarded' && { app: { user: 'crm', password: 'right' } }),
  }));
  const file = { destinations: { directory: './destinations' }, listeners, loginTimeout: LOGIN_SECONDS };
  await writeFile(join(directory, 'postern.yaml'), JSON.stringify(file));
}
