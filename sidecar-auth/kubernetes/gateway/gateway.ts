import { join } from 'node:path';
import { type Destination, keyOf } from '../resource.ts';
import type { Base } from './base.ts';
import { type Accepted, filesOf, type Place, STATE, stateOf } from './files.ts';
import { Folder } from './folder.ts';
import { type ContentOf, isServed, type Plan, planOf } from './plan.ts';
import { Trial } from './trial.ts';

export interface GatewayLog {
  info(details: object, text: string): void;
  error(details: object, text: string): void;
}

export interface GatewayOptions {
  /** Made with mode 0700. */
  folder: string;
  /** Reads what holds for all destinations, as it is now. */
  readBase: () => Base;
  place: Place;
  /** For tests: plain destinations may be on this machine. */
  allowLoopback?: boolean;
  log: GatewayLog;
}

/** What was made of a plan: found again as long as the plan stays the same. */
interface Tried {
  plan: string;
  accepted: Accepted;
}

/** Turns resources into the files that sidecar-auth follows. A resource that is wrong stops no other. */
export class Gateway {
  readonly #folder: Folder;
  readonly #trial: Trial;
  readonly #readBase: () => Base;
  readonly #place: Place;
  readonly #log: GatewayLog;
  #base: Base;
  /** As it was seen last, also where it has mistakes. */
  #seenBase = '';
  #tried = new Map<string, Tried>();
  /** In force, also from an earlier process. */
  #accepted: Map<string, Accepted>;
  #reported = new Map<string, string>();
  readonly #robbed = new Set<string>();
  #isKnown: boolean;

  /** @throws Error where the folder can't be used, or the base has mistakes (all of them, one line each) and no earlier process knew a better one */
  constructor({ folder, readBase, place, allowLoopback = false, log }: GatewayOptions) {
    this.#folder = new Folder(folder);
    this.#trial = new Trial(join(folder, 'trial'), allowLoopback);
    this.#readBase = readBase;
    this.#place = place;
    this.#log = log;
    const state = stateOf(this.#folder.read(STATE));
    this.#isKnown = state !== undefined;
    this.#accepted = state?.accepted ?? new Map();
    this.#base = this.#usableBase(state?.base);
  }

  /** Whether there was an update, or an earlier process knew of one, as when only the container was started again. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** What is in force, as files: before anything is heard of the API server. */
  restore(): void {
    const files = filesOf(this.#base, this.#place, this.#accepted);
    if (!this.#isKnown) files.delete(STATE);
    this.#folder.write(files);
  }

  /** Looks at the base again. Whether another one counts now, from the next update on; one with mistakes never does. */
  checkBase(): boolean {
    const before = this.#base;
    this.#base = this.#usableBase(before);
    if (this.#base === before) return false;
    this.#tried.clear();
    return true;
  }

  #usableBase(before: Base | undefined): Base {
    try {
      const base = this.#readBase();
      const text = JSON.stringify(base);
      if (text === this.#seenBase && before) return before;
      this.#seenBase = text;
      const mistakes = this.#trial.mistakes(base, this.#place);
      if (mistakes.length > 0) throw new Error(mistakes.join('\n'));
      return base;
    } catch (error) {
      if (!before) throw error;
      const { message } = error as Error;
      if (message !== this.#reported.get(''))
        this.#log.error({ error: message }, 'the base configuration stays as it was');
      this.#reported.set('', message);
      return before;
    }
  }

  /** All resources there are. @throws Error where the files can't be written */
  update(resources: Iterable<Destination>, contentOf: ContentOf): void {
    const served = [...resources].filter(isServed).sort(byAge);
    const tried = served.map((resource) => this.#try(planOf(resource, contentOf)));
    this.#tried = new Map(tried);
    for (const key of this.#reported.keys()) if (key !== '' && !this.#tried.has(key)) this.#reported.delete(key);
    const accepted = new Map(tried.map(([key, one]) => [key, one.accepted]));
    this.#accepted = this.#withoutClashes(accepted);
    this.#isKnown = true;
    this.restore();
  }

  #try(plan: Plan): [string, Tried] {
    const { key } = plan;
    const text = JSON.stringify(plan);
    const before = this.#tried.get(key);
    if (before?.plan === text) return [key, before];
    const mistakes = [plan.mistake ?? this.#missingService(plan)].filter((mistake) => mistake !== undefined);
    for (const accepted of candidates(plan, this.#accepted.get(key))) {
      const found = this.#trial.mistakes(this.#base, this.#place, key, accepted);
      if (mistakes.length === 0) mistakes.push(...found);
      if (found.length > 0) continue;
      this.#report(key, mistakes, accepted);
      return [key, { plan: text, accepted }];
    }
    this.#report(key, mistakes, undefined);
    return [key, { plan: text, accepted: { listeners: [] } }];
  }

  /** In so many words: what sidecar-auth would say of such a listener is for those who write destination files. */
  #missingService({ source }: Plan): string | undefined {
    const { services = [] } = (this.#base.destinations ?? {}) as { services?: unknown[] };
    if (source !== undefined || services.length > 0) return undefined;
    return "destinationRef needs an instance of the Destination service in the gateway's configuration";
  }

  /** The same is said once. */
  #report(key: string, mistakes: string[], accepted: Accepted | undefined): void {
    const text = mistakes.join('; ');
    if (text === (this.#reported.get(key) ?? '')) return;
    this.#reported.set(key, text);
    if (text === '') this.#log.info({ destination: key }, 'the mistakes are gone');
    else this.#log.error({ destination: key, stays: standing(accepted) }, text);
  }

  /** Two resources that claim one port: only a status that the operator did not write says so. Who has it keeps it, else the older resource. */
  #withoutClashes(accepted: Map<string, Accepted>): Map<string, Accepted> {
    const holders = this.#holders(accepted);
    return new Map([...accepted].map(([key, one]) => [key, this.#withOwnPorts(key, one, holders)]));
  }

  #holders(accepted: Map<string, Accepted>): Map<number, string> {
    const holders = new Map<number, string>();
    for (const [key, { listeners }] of this.#accepted) {
      const now = accepted.get(key)?.listeners ?? [];
      for (const { port } of listeners) if (now.some((one) => one.port === port)) holders.set(port, key);
    }
    for (const [key, { listeners }] of accepted) {
      for (const { port } of listeners) if (!holders.has(port)) holders.set(port, key);
    }
    return holders;
  }

  #withOwnPorts(key: string, accepted: Accepted, holders: ReadonlyMap<number, string>): Accepted {
    const listeners = accepted.listeners.filter(({ port }) => holders.get(port) === key);
    const isRobbed = listeners.length < accepted.listeners.length;
    if (isRobbed && !this.#robbed.has(key))
      this.#log.error({ destination: key }, 'a port in its status is the port of another resource: it is not opened');
    if (isRobbed) this.#robbed.add(key);
    else this.#robbed.delete(key);
    return { ...accepted, listeners };
  }
}

/** What may be in force, the best first: what the plan says; with the plain destination as it was; without it, so that apps hear what is the matter. */
function candidates({ listeners, source, plain, mistake, mayStand }: Plan, before: Accepted | undefined): Accepted[] {
  if (source === undefined) return mistake === undefined ? [{ listeners }] : [];
  const isSame = before?.source === source && (plain !== undefined || mayStand === true);
  return [
    ...(plain ? [{ listeners, source, plain }] : []),
    ...(isSame && before.plain ? [{ listeners, source, plain: before.plain }] : []),
    { listeners, source },
  ];
}

function standing(accepted: Accepted | undefined): string {
  if (!accepted) return 'nothing: no listener is open for it';
  return accepted.plain ? 'the destination as it was' : 'its listeners, which tell apps that there is no destination';
}

function byAge(a: Destination, b: Destination): number {
  return age(a) - age(b) || (keyOf(a) < keyOf(b) ? -1 : 1);
}

function age({ metadata: { creationTimestamp } }: Destination): number {
  return creationTimestamp === undefined ? 0 : new Date(creationTimestamp).getTime();
}
