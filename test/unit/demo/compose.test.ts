import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { ROOT } from '../../../cli/paths.ts';
import { page } from '../../../demo/compose/page.ts';
import { PLACES } from '../../../demo/places.ts';

interface Service {
  ports?: string[];
  read_only?: boolean;
  cap_drop?: string[];
}
const { services } = parse(readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8')) as {
  services: Record<string, Service>;
};
const handout = { places: PLACES, user: 'demo@mail.demo', refreshToken: 'r', codes: { 'internet-imaps-code': 'c' } };

describe('docker-compose.yml', () => {
  it('publishes the port of each of the 36 cells, on the host it is named by, on loopback only', () => {
    const published = Object.values(services).flatMap(({ ports = [] }) => ports);
    expect(PLACES).toHaveLength(36);
    expect(published.toSorted()).toEqual(PLACES.map(({ port }) => `127.0.0.1:${port}:${port}`).toSorted());
  });

  it.each(['envoy', 'sidecar-auth'])('%s has a read-only file system and no capabilities', (name) => {
    expect(services[name]).toMatchObject({ read_only: true, cap_drop: ['ALL'] });
  });
});

describe('the page of the container matrix', () => {
  it('has a row for each kind of destination, with all four ports', () => {
    const text = page(handout);
    expect(text).toContain('36 of 36 cells work');
    expect(text).toMatch(/^ {2}internet-smtps +Internet, smtps +1465 ok +3465 ok +5465 ok +7465 ok$/m);
    expect(text).toMatch(/^ {2}onpremise-pop3 +on-premise, pop3 +2110 ok +4110 ok +6110 ok +8110 ok$/m);
  });

  it('says which cells do not work, and tries ports that there are', () => {
    const [first] = PLACES;
    const text = page(handout, new Map([[first as (typeof PLACES)[number], 'no']]));
    expect(text).toContain('35 of 36 cells work');
    expect(text).toContain('1587 BAD');
    const named = [...text.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port));
    for (const port of named) expect(PLACES.map((place) => place.port)).toContain(port);
  });
});
