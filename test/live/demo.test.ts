import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Running } from '../../cli/start-all.ts';
import { up } from '../../cli/up.ts';
import { banner } from '../../demo/banner.ts';
import { PLACES, type Place } from '../../demo/places.ts';
import { CLIENT_ID } from '../../demo/properties.ts';
import { startWorld, type World } from '../../demo/world.ts';
import { begin, beginWithToken, fetchText, retrieveOnly, sendMail } from './apps.ts';
import { Wire } from './wire.ts';

let directory: string;
let world: World;
let postern: Running;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'demo-'));
  world = await startWorld(directory);
  postern = await up({ configFile: world.configFile, workers: 2, logFile: join(directory, 'log') });
}, 120_000);

afterAll(async () => {
  await postern?.stop();
  await world?.close();
  await rm(directory, { recursive: true, force: true });
});

const TOKENS: Partial<Record<Place['authentication'], keyof World['tokens']>> = {
  OAuth2RefreshToken: 'refreshToken',
  OAuth2AuthorizationCode: 'authorizationCode',
};

/** An authorization code works once; the banner shows the first. */
async function tokenFor({ authentication }: Place): Promise<string | undefined> {
  const kind = TOKENS[authentication];
  const consent = { client: CLIENT_ID, user: world.user };
  if (kind === 'authorizationCode') return world.provider.authorizationCode(consent);
  return kind && world.tokens[kind];
}

it.each(PLACES.map(({ destination }) => destination))('%s carries mail, with the login that is due', async (name) => {
  const place = world.places.find(({ destination }) => destination === name) as Place;
  const { protocol, tls, authentication } = place;
  const token = await tokenFor(place);
  const { logins, store } = world.mailServer;
  logins.length = 0;
  const inbox = store.inbox(world.user);
  inbox.messages = [];
  if (protocol !== 'smtp') inbox.add('Subject: one\r\n\r\none\r\n');
  const wire = await Wire.open(place.port);
  if (token === undefined) await begin(wire, protocol, 'silent');
  else await beginWithToken(wire, protocol, world.user, token);
  if (protocol === 'smtp') await sendMail(wire, 'silent', world.user, 'Subject: one\r\n\r\none\r\n');
  else expect(await (protocol === 'imap' ? fetchText(wire) : retrieveOnly(wire))).toMatch(/one\r\n$/);
  wire.close();
  expect(inbox.messages).toHaveLength(1);
  const mechanism = authentication === 'BasicAuthentication' ? 'PLAIN' : 'XOAUTH2';
  expect(logins).toEqual([{ protocol, user: world.user, mechanism, tls }]);
});

/** The banner's dialogues, each with the port that it is for. */
function dialogues(): { port: number; text: string }[] {
  const found = banner(world, {}, 'log').matchAll(/^ {2}telnet 127\.0\.0\.1 (\d+)\n((?: {2}.+\n)*?)\n/gm);
  return [...found]
    .map(([, port, lines = '']) => ({ port: Number(port), text: lines.replaceAll(/^ {2}(.*)\n/gm, '$1\r\n') }))
    .filter(({ text }) => text.includes('AUTH'));
}

it('the dialogues of the banner work as they are pasted', async () => {
  world.mailServer.store.inbox(world.user).add('Subject: two\r\n\r\ntwo\r\n');
  const [send, read, ...more] = dialogues();
  expect(more).toEqual([]);
  for (const [dialogue, end] of [
    [send, /^250 2\.0\.0 Delivered\r\n221 /m],
    [read, /^5 OK FETCH completed\r\n/m],
  ] as const) {
    const wire = await Wire.open(dialogue?.port ?? 0);
    wire.send(dialogue?.text ?? '');
    await wire.expect(end);
    wire.close();
  }
});
