import type { BindingTokens } from '../binding/tokens.ts';
import { Failure } from '../failure.ts';
import { connectionError, Outage, type Retries, retrying } from '../http.ts';
import { serviceRequests, timed } from '../observe/counted.ts';
import { type Answer, errorMessage, readAnswer } from './answer.ts';
import { ANSWER_LIMIT } from './limits.ts';
import type { DestinationRef } from './reference.ts';
import { destinationRequest, type Want } from './request.ts';

/**
 * The service's own words, by which its clients tell an unknown destination from an unknown fragment (SAP Cloud SDK
 * does, too).
 */
const NOT_FOUND = 'Configuration with the specified name was not found';

export interface Instance {
  name: string;
  /** As of BindingTokens.revision. */
  binding: string;
}

/** The service behind a reference. */
export interface Place {
  binding: string;
  /** Changes when the binding is rotated. */
  revision: string;
  /** Stays when it is rotated: another service or tenant is another one. */
  service: string;
  uri: string;
}

/** Requests to the Destination service. */
export class ServiceClient {
  #instances: Instance[] = [];
  readonly #bindings: BindingTokens;
  readonly #fetch: { any: typeof fetch; unsent: typeof fetch };

  constructor(bindings: BindingTokens, fetch: typeof globalThis.fetch, retries: Retries = {}) {
    this.#bindings = bindings;
    this.#fetch = { any: retrying(fetch, retries), unsent: retrying(fetch, { ...retries, after: 'unsent' }) };
  }

  /** The first is the one that references without `instance` mean. */
  use(instances: Instance[]): void {
    this.#instances = instances;
  }

  /** Throws a Failure. */
  async place(ref: DestinationRef): Promise<Place> {
    const { binding } = this.#instance(ref.instance);
    const { id, binding: values } = await this.#bindings.revision(binding);
    const { uri, url, identityzone } = values;
    if (uri === undefined) throw new Failure('unknown_destination', 'the service binding has no uri');
    return { binding, revision: id, service: JSON.stringify([binding, uri, url, identityzone]), uri };
  }

  /** Undefined: there is no such destination. Throws a Failure, while the service is down an Outage. */
  async get(ref: DestinationRef, want: Want): Promise<Answer | undefined> {
    let outcome = 'ok';
    try {
      const phase = want === 'configuration' ? 'destination' : 'token';
      const answer = await timed(phase, ref.name, () => this.#get(ref, want));
      if (!answer) outcome = 'not_found';
      return answer;
    } catch (error) {
      outcome = error instanceof Outage ? 'outage' : 'refused';
      throw error;
    } finally {
      const wanted = typeof want === 'object' ? 'exchange' : want;
      const asked = { destination: ref.name, tenant: ref.tenant ?? '', service_instance: ref.instance ?? '' };
      serviceRequests.add({ ...asked, wanted, outcome });
    }
  }

  async #get(ref: DestinationRef, want: Want): Promise<Answer | undefined> {
    const first = await this.#ask(ref, want);
    // A key of the token service that was rotated, or a restored service: a new token helps.
    const answer = first.status === 401 ? await this.#ask(ref, want) : first;
    if (answer.status === 200) return readAnswer(answer.text);
    return refused(answer, ref, want);
  }

  #instance(name: string | undefined): Instance {
    const found = name === undefined ? this.#instances[0] : this.#instances.find((instance) => instance.name === name);
    if (found) return found;
    const text =
      name === undefined ? 'no Destination service is configured' : `there is no Destination service ${name}`;
    throw new Failure('unknown_destination', text);
  }

  async #ask(ref: DestinationRef, want: Want): Promise<Reply> {
    const { binding, uri } = await this.place(ref);
    const { url, headers } = destinationRequest(uri, ref, want);
    const { value } = await this.#bindings.get(binding, ref.tenant);
    headers.set('authorization', `Bearer ${value}`);
    // A code is used up by the first request, and so may be a refresh token.
    const reply = await asked(this.#fetch[typeof want === 'object' ? 'unsent' : 'any'], url, headers);
    if (reply.status === 401) this.#bindings.refused(value);
    return { ...reply, secrets: [value, ...Object.values(ref.chain?.variables ?? {})] };
  }
}

interface Reply {
  status: number;
  text: string;
  /** What it was asked with. */
  secrets: string[];
}

async function asked(fetch: typeof globalThis.fetch, url: URL, headers: Headers): Promise<Omit<Reply, 'secrets'>> {
  try {
    const response = await fetch(url.href, { headers: Object.fromEntries(headers) });
    if (!isFault(response.status)) return { status: response.status, text: await readText(response) };
    await response.body?.cancel();
    throw fault(response.status);
  } catch (error) {
    if (error instanceof Failure) throw error;
    // Without a cause: it may hold the request, and with it the token.
    const code = connectionError(error) ?? 'unknown error';
    throw new Outage('unknown_destination', `the Destination service ${url.host} cannot be reached (${code})`, {
      retry: true,
    });
  }
}

async function readText(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_LIMIT) throw tooLong();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

function tooLong(): Outage {
  const text = `the Destination service's answer has more than ${ANSWER_LIMIT} octets`;
  return new Outage('unknown_destination', text, { retry: true });
}

/** Neither an answer nor a refusal: the service does not redirect, and what it refuses now (429) it may do later. */
function isFault(status: number): boolean {
  return status !== 200 && (status < 400 || status >= 500 || status === 429);
}

function fault(status: number): Outage {
  return new Outage('unknown_destination', `the Destination service has a fault (${status})`, { retry: true });
}

/**
 * Undefined for an unknown destination. A 404 in other words means the fragment, where there is one; else it is not the
 * service's: Cloud Foundry's router says so in place of a service that is being started.
 */
function refused({ status, text, secrets }: Reply, ref: DestinationRef, want: Want): undefined {
  const message = errorMessage(text, secrets);
  if (status === 404 && message === NOT_FOUND) return undefined;
  if (status === 404 && (!ref.fragment || message === '')) throw fault(status);
  const said = 'the Destination service refused the request';
  // No free text: it may repeat the token, and whoever presented a wrong one is to get an authentication error.
  if (typeof want === 'object') throw new Failure('token', `${said} (${status})`, { retry: false });
  throw new Failure('unknown_destination', `${said} (${message === '' ? status : `${status}: ${message}`})`);
}
