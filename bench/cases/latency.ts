import { startNetwork } from '../arms/between.ts';
import { startPostern } from '../arms/postern.ts';
import { type Goal, interleave, type Metric, type Result, type Sample } from '../result.ts';
import type { Case, Stage } from '../stage.ts';
import type { App } from '../tool.ts';

/** Milliseconds to the server and back. */
const ROUND_TRIPS = [20, 80];

const SERVICES = ['smtps', 'imaps', 'pop3s', 'smtp', 'imap', 'pop3'] as const;
type Service = (typeof SERVICES)[number];

/** An app and where it connects, for each service. */
interface Way {
  name: string;
  app(service: Service): App;
}

/** Round trips to the server that Postern saves an app: one session at a time, through a network that takes its time. */
export const latency: Case = {
  name: 'latency',
  async run(stage) {
    const results: Result[] = [];
    for (const milliseconds of ROUND_TRIPS) {
      stage.progress(`latency, ${milliseconds} ms to the server ...`);
      results.push(await measure(stage, milliseconds));
      await stage.clear();
    }
    return results;
  },
};

async function measure(stage: Stage, milliseconds: number): Promise<Result> {
  const ways = await start(stage, milliseconds);
  return {
    name: `latency ${milliseconds} ms`,
    title: `Session latency with ${milliseconds} ms to the server and back, one session at a time`,
    metrics: metrics(),
    arms: await interleave(ways, stage.rounds, (way) => sample(stage, way, milliseconds)),
    goals: milliseconds === 80 ? goals() : [],
    notes: [
      'A delaying relay stands before the server, for both; TCP’s handshake takes its round trip in it.',
      'smtps, imaps, pop3s: TLS from the first octet to the server, which is the app’s own where it goes there directly.',
    ],
  };
}

async function start(stage: Stage, milliseconds: number): Promise<Way[]> {
  const { upstream } = await stage.add(startNetwork(stage.tool, stage.upstream, milliseconds));
  return [
    direct(upstream),
    await postern(stage, 'postern', upstream),
    await postern(stage, 'postern preconnect', upstream, true),
  ];
}

function direct(upstream: Record<string, number>): Way {
  return {
    name: 'direct',
    app: (service) => ({
      protocol: protocolOf(service),
      address: `127.0.0.1:${upstream[service]}`,
      login: 'PLAIN',
      ...(isTls(service) && { security: 'implicit' }),
    }),
  };
}

async function postern(stage: Stage, name: string, upstream: Record<string, number>, preconnect = false): Promise<Way> {
  const begin = (transport: 'plain' | 'tls') =>
    stage.add(startPostern({ ...stage.options(), upstream, transport, preconnect, name: `${name} ${transport}` }));
  const [plain, tls] = await Promise.all([begin('plain'), begin('tls')]);
  return {
    name,
    app: (service) => {
      const protocol = protocolOf(service);
      return { protocol, address: `127.0.0.1:${(isTls(service) ? tls : plain).ports[protocol]}` };
    },
  };
}

/** All services side by side: nobody has much to do but wait. */
async function sample({ tool, quick }: Stage, way: Way, milliseconds: number): Promise<Sample> {
  const loads = await Promise.all(SERVICES.map((service) => tool.load(way.app(service), 1, quick ? 1 : 3)));
  const each = SERVICES.flatMap((service, index) => {
    const p50 = (loads[index]?.p50 ?? Number.NaN) / 1000;
    return [
      [service, p50],
      [tripsOf(service), p50 / milliseconds],
    ];
  });
  return Object.fromEntries(each);
}

function metrics(): Record<string, Metric> {
  const each = SERVICES.flatMap((service): [string, Metric][] => [
    [service, { title: `${service}, p50`, unit: 'ms' }],
    [tripsOf(service), { title: `${service}, p50 in round trips`, unit: '' }],
  ]);
  return Object.fromEntries(each);
}

function goals(): Goal[] {
  const goal = (service: Service, arm: string, how: string, atMost: number): Goal => ({
    text: `session latency with 80 ms to the server, ${service.toUpperCase()}${how}, against the app that logs in itself`,
    metric: service,
    arm,
    base: 'direct',
    atMost,
  });
  return SERVICES.filter(isTls).flatMap((service) => [
    goal(service, 'postern', '', 0.85),
    goal(service, 'postern preconnect', ' with preconnect', 0.6),
  ]);
}

function tripsOf(service: Service): string {
  return `${service} trips`;
}

function protocolOf(service: Service): App['protocol'] {
  return service.replace(/s$/, '') as App['protocol'];
}

function isTls(service: Service): boolean {
  return service.endsWith('s');
}
