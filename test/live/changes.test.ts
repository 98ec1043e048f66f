import { once } from 'node:events';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { helperStatus, PosternProcess } from '../load/postern.ts';
import { freePorts } from './daemon.ts';
import { Wire } from './wire.ts';

const WORKERS = 2;
/** Milliseconds within which new connections follow a change: the issue's own. */
const WITHIN = 1000;
/** Sessions that must be seen after that. */
const LATE = 10;
/** Milliseconds between two sessions of one app. */
const PAUSE = 20;
const APPS = 3;

/** A small SMTP server that takes every login, remembers it, and tells in its answer to MAIL who is there. */
class TellingServer {
  readonly name: string;
  /** Passwords that were sent here. */
  readonly passwords = new Set<string>();
  readonly #server: Server;

  constructor(name: string) {
    this.name = name;
    this.#server = createServer((socket) => {
      let unread = '';
      let password = 'nobody';
      const answer = (line: string): string => {
        const [verb, , response] = line.split(' ');
        if (verb === 'EHLO') return `250-${name}\r\n250 AUTH PLAIN`;
        if (verb === 'MAIL') return `250 ${name} ${password}`;
        if (verb !== 'AUTH') return `250 ${name}`;
        password =
          Buffer.from(response ?? '', 'base64')
            .toString()
            .split('\0')[2] ?? '';
        this.passwords.add(password);
        return '235 welcome';
      };
      socket.setEncoding('latin1').on('error', () => socket.destroy());
      socket.write(`220 ${name}\r\n`);
      socket.on('data', (text: string) => {
        unread += text;
        for (let end = unread.indexOf('\r\n'); end >= 0; end = unread.indexOf('\r\n')) {
          socket.write(`${answer(unread.slice(0, end))}\r\n`);
          unread = unread.slice(end + 2);
        }
      });
    });
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  stop(): void {
    this.#server.close();
  }
}

/** A silent session: what MAIL, or else the greeting, was answered; or the code of the error. */
async function session(port: number): Promise<{ answer: string; wire?: Wire }> {
  let wire: Wire | undefined;
  try {
    wire = await Wire.open(port);
    const greeting = await wire.expect(/^.*\r\n/);
    if (!greeting.startsWith('220 ')) return { answer: greeting.trim(), wire };
    return { answer: (await wire.ask('MAIL FROM:<app@changes.example>', /^.*\r\n/)).trim(), wire };
  } catch (error) {
    return { answer: (error as NodeJS.ErrnoException).code ?? 'closed', ...(wire && { wire }) };
  }
}

/** Apps that open one session after the other. */
class Traffic {
  readonly seen: { begun: number; answer: string }[] = [];
  readonly #port: number;
  readonly #apps: Promise<void>[];
  #stopped = false;

  constructor(port: number) {
    this.#port = port;
    this.#apps = Array.from({ length: APPS }, () => this.#run());
  }

  /** What was answered to the first sessions that began `after` this moment. */
  async after(moment: number): Promise<string[]> {
    const late = () => this.seen.filter(({ begun }) => begun >= moment);
    await expect.poll(() => late().length, { timeout: 30_000 }).toBeGreaterThanOrEqual(LATE);
    return late().map(({ answer }) => answer);
  }

  /** Every answer so far, each once, in the order in which they came up. */
  get answers(): string[] {
    return [...new Set(this.seen.map(({ answer }) => answer))];
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#apps);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const begun = Date.now();
      const { answer, wire } = await session(this.#port);
      wire?.close();
      this.seen.push({ begun, answer });
      await sleep(PAUSE);
    }
  }
}

const one = new TellingServer('one');
const two = new TellingServer('two');
/** Everything that must never be in a log. */
const secrets = new Set<string>();

/** Destinations that the tests change, each with a listener of the same name. */
const NAMES = ['password', 'file', 'host', 'gone', 'moved', 'deleted', 'broken', 'killed', 'cold'] as const;
type Name = (typeof NAMES)[number];

describe('changes while mail flows', () => {
  let directory: string;
  let postern: PosternProcess;
  let traffic: Traffic | undefined;
  const ports = new Map<string, number>();
  /** Sessions that were open before the first change. */
  const running: Wire[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'changes-'));
    await mkdir(join(directory, 'destinations'));
    await Promise.all([one.start(), two.start()]);
    const free = await freePorts(NAMES.length);
    for (const [index, name] of NAMES.entries()) ports.set(name, free[index] as number);
    await writeSecret('file-1');
    for (const name of NAMES) await writeDestination(name, one, passwordOf(name));
    await writeMain();
    postern = await PosternProcess.start(join(directory, 'postern.yaml'), WORKERS);
  }, 120_000);

  afterEach(async () => {
    await traffic?.stop();
    traffic = undefined;
    await expectRunning();
  });

  afterAll(async () => {
    for (const wire of running) wire.close();
    await postern?.stop();
    one.stop();
    two.stop();
    await rm(directory, { recursive: true, force: true });
  });

  function passwordOf(name: Name): Record<string, string> {
    return name === 'file' ? { 'mail.passwordFile': './secret' } : password(`${name}-1`);
  }

  function password(value: string): Record<string, string> {
    secrets.add(value);
    return { 'mail.password': value };
  }

  function writeSecret(value: string): Promise<void> {
    secrets.add(value);
    return replace('destinations/secret', value);
  }

  /** By rename, as `kubectl` and careful editors do. */
  async function replace(name: string, text: string): Promise<void> {
    await writeFile(join(directory, 'new'), text);
    await rename(join(directory, 'new'), join(directory, name));
  }

  function writeDestination(name: Name, server: TellingServer, more: Record<string, string>): Promise<void> {
    const destination = {
      Name: name,
      Type: 'MAIL',
      ProxyType: 'Internet',
      Authentication: 'BasicAuthentication',
      'mail.transport.protocol': 'smtp',
      'mail.smtp.host': '127.0.0.1',
      'mail.smtp.port': String(server.port),
      'mail.smtp.starttls.enable': 'false',
      'mail.user': 'changing',
      ...more,
    };
    return replace(`destinations/${name}.json`, JSON.stringify(destination));
  }

  /** FILE, with a listener for everything in `ports`. */
  function writeMain(): Promise<void> {
    const listeners = [...ports].map(([name, port]) => ({
      destination: name.replace(/ .*/, ''),
      address: `127.0.0.1:${port}`,
    }));
    return replace('postern.yaml', JSON.stringify({ destinations: { directory: './destinations' }, listeners }));
  }

  function port(name: string): number {
    return ports.get(name) as number;
  }

  /** A session that stays open, and apps that open more, at this listener. */
  async function flow(name: string): Promise<Traffic> {
    const { answer, wire } = await session(port(name));
    expect(answer).toMatch(/^250 one /);
    running.push(wire as Wire);
    traffic = new Traffic(port(name));
    await traffic.after(0);
    return traffic;
  }

  async function expectRunning(): Promise<void> {
    for (const wire of running) expect(await wire.ask('RSET', /^.*\r\n/)).toBe('250 one\r\n');
  }

  /** After the change new sessions have this answer within a second, and no other one from then on. */
  async function expectFollows(flowing: Traffic, change: () => Promise<unknown>, answer: RegExp): Promise<void> {
    await change();
    const late = await flowing.after(Date.now() + WITHIN);
    expect(late.filter((one) => !answer.test(one))).toEqual([]);
    await expectRunning();
  }

  /** Milliseconds; each waits for some seconds, on a busy machine for longer. */
  const SLOW = { timeout: 60_000 };

  test('a new password', SLOW, async () => {
    const flowing = await flow('password');
    await expectFollows(
      flowing,
      () => writeDestination('password', one, password('password-2')),
      /^250 one password-2$/,
    );
    expect(flowing.answers).toEqual(['250 one password-1', '250 one password-2']);
  });

  test('a new password in the file of its own', SLOW, async () => {
    const flowing = await flow('file');
    await expectFollows(flowing, () => writeSecret('file-2'), /^250 one file-2$/);
    expect(flowing.answers).toEqual(['250 one file-1', '250 one file-2']);
  });

  test('another server with another password: neither is told to the other', SLOW, async () => {
    const flowing = await flow('host');
    await expectFollows(flowing, () => writeDestination('host', two, password('host-2')), /^250 two host-2$/);
    await expectFollows(flowing, () => writeDestination('host', one, password('host-1')), /^250 one host-1$/);
    expect(flowing.answers).toEqual(['250 one host-1', '250 two host-2']);
    expect([...two.passwords]).toEqual(['host-2']);
    expect([...one.passwords]).not.toContain('host-2');
  });

  test('the destination is deleted, and comes back', SLOW, async () => {
    const flowing = await flow('gone');
    const file = join(directory, 'destinations', 'gone.json');
    await expectFollows(flowing, () => rm(file), /^554 5\.3\.5 postern: gone: unknown_destination: /);
    await expectFollows(flowing, () => writeDestination('gone', one, password('gone-2')), /^250 one gone-2$/);
    expect(flowing.answers).toHaveLength(3);
  });

  test('a listener is added', SLOW, async () => {
    const flowing = await flow('moved');
    const [free] = await freePorts(1);
    const added = new Traffic(free as number);
    try {
      ports.set('moved too', free as number);
      await expectFollows(added, writeMain, /^250 one moved-1$/);
      expect(new Set(added.answers)).toEqual(new Set(['ECONNREFUSED', '250 one moved-1']));
    } finally {
      await added.stop();
    }
    expect(flowing.answers).toEqual(['250 one moved-1']);
  });

  test('a listener moves to another port', SLOW, async () => {
    const flowing = await flow('moved');
    const [free] = await freePorts(1);
    const moved = new Traffic(free as number);
    try {
      ports.set('moved', free as number);
      await expectFollows(flowing, writeMain, /^ECONNREFUSED$/);
      await expectFollows(moved, async () => {}, /^250 one moved-1$/);
    } finally {
      await moved.stop();
    }
  });

  test('a listener is deleted, and comes back', SLOW, async () => {
    const flowing = await flow('deleted');
    const deleted = port('deleted');
    ports.delete('deleted');
    await expectFollows(flowing, writeMain, /^ECONNREFUSED$/);
    ports.set('deleted', deleted);
    await expectFollows(flowing, writeMain, /^250 one deleted-1$/);
  });

  test('broken edits change nothing, and are logged', SLOW, async () => {
    const flowing = await flow('broken');
    const logged = async (text: string) => expect.poll(() => postern.log, { timeout: 5000 }).toContain(text);

    const cut = JSON.stringify({ Name: 'broken', ...password('broken-2') }).slice(0, -2);
    await replace('destinations/broken.json', cut);
    await logged('broken.json');
    await writeDestination('broken', two, { ...password('broken-3'), 'mail.smtp.starttls.requred': 'true' });
    await logged('mail.smtp.starttls.requred');
    await replace('postern.yaml', 'listeners: [ {destination: broken\n');
    await logged('postern.yaml');
    const late = await flowing.after(Date.now() + WITHIN);
    expect(new Set(late)).toEqual(new Set(['250 one broken-1']));
    expect(flowing.answers).toEqual(['250 one broken-1']);

    await writeMain();
    await expectFollows(flowing, () => writeDestination('broken', one, password('broken-4')), /^250 one broken-4$/);
  });

  test('sidecar-auth is killed, and started again', SLOW, async () => {
    const flowing = await flow('killed');
    const pid = await postern.helperPid();
    const { boot } = await helperStatus(postern.runDir);
    process.kill(pid, 'SIGKILL');

    const cold = new Traffic(port('cold'));
    try {
      const status = () => helperStatus(postern.runDir).catch(() => undefined);
      // One poll for each worker: they know of the new one.
      await expect.poll(async () => (await status())?.polls, { timeout: 20_000 }).toBe(WORKERS);
      expect((await status())?.boot).not.toBe(boot);
      expect(await postern.helperPid()).not.toBe(pid);
      expect(new Set(await cold.after(Date.now()))).toEqual(new Set(['250 one cold-1']));
      const before = cold.answers.filter((answer) => answer !== '250 one cold-1');
      expect(before.filter((answer) => !/^421 4\.3\.0 postern: .*internal: /.test(answer))).toEqual([]);
    } finally {
      await cold.stop();
    }
    expect(flowing.answers).toEqual(['250 one killed-1']);
    await expectFollows(flowing, () => writeDestination('killed', one, password('killed-2')), /^250 one killed-2$/);
    expect(flowing.answers).toEqual(['250 one killed-1', '250 one killed-2']);
  });

  test('no secret is in a log', () => {
    expect(postern.log).toContain('"level":30');
    const base64 = [...secrets].map((secret) => Buffer.from(secret).toString('base64'));
    expect([...secrets, ...base64].filter((secret) => postern.log.includes(secret))).toEqual([]);
  });
});
