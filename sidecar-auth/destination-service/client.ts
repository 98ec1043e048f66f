import type { BindingTokens } from '../binding/tokens.ts';
import { Failure } from '../failure.ts';
import { connectionError, Outage, type Retries, retrying } from '../http.ts';
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

/** Requests to the Destination service. */
export class ServiceClient {
  readonly #instances: Instance[];
  readonly #bindings: BindingTokens;
  readonly #fetch: { any: typeof fetch; unsent: typeof fetch };

  constructor(instances: Instance[], bindings: BindingTokens, fetch: typeof globalThis.fetch, retries: Retries = {}) {
    this.#instances = instances;
    this.#bindings = bindings;
    this.#fetch = { any: retrying(fetch, retries), unsent: retrying(fetch, { ...retries, after: 'unsent' }) };
  }

  /** The binding that the reference means, and its stamp, which changes when it is rotated. Throws a Failure. */
  async place(ref: DestinationRef): Promise<{ binding: string; stamp: string; uri: string }> {
    const { binding } = this.#instance(ref.instance);
    const revision = await this.#bindings.revision(binding);
    if (revision.binding.uri === undefined) throw new Failure('unknown_destination', 'the service binding has no uri');
    return { binding, stamp: revision.stamp, uri: revision.binding.uri };
  }

  /** Undefined: there is no such destination. Throws a Failure, while the service is down an Outage. */
  async get(ref: DestinationRef, want: Want): Promise<Answer | undefined> {
    const first = await this.#ask(ref, want);
    // A key of the token service that was rotated, or a restored service: a new token helps.
    const answer = first.status === 401 ? await this.#ask(ref, want) : first;
    if (answer.status === 200) return readAnswer(answer.text);
    return refusal(answer, ref);
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
    return reply;
  }
}

interface Reply {
  status: number;
  text: string;
}

async function asked(fetch: typeof globalThis.fetch, url: URL, headers: Headers): Promise<Reply> {
  try {
    const response = await fetch(url.href, { headers: Object.fromEntries(headers) });
    if (response.status < 500) return { status: response.status, text: await bounded(response) };
    await response.body?.cancel();
    throw new Outage('unknown_destination', `the Destination service has a fault (${response.status})`, {
      retry: true,
    });
  } catch (error) {
    if (error instanceof Failure) throw error;
    // Without a cause: it may hold the request, and with it the token.
    const code = connectionError(error) ?? 'unknown error';
    throw new Outage('unknown_destination', `the Destination service ${url.host} cannot be reached (${code})`, {
      retry: true,
    });
  }
}

async function bounded(response: Response): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.length;
    if (size > ANSWER_LIMIT)
      throw new Failure('unknown_destination', `the Destination service's answer has more than ${ANSWER_LIMIT} octets`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Undefined for an unknown destination; a 404 that may mean the fragment is a failure. */
function refusal({ status, text }: Reply, ref: DestinationRef): undefined {
  const message = errorMessage(text);
  if (status === 404 && (!ref.fragment || message === NOT_FOUND)) return undefined;
  const words = message === '' ? `${status}` : `${status}: ${message}`;
  throw new Failure('unknown_destination', `the Destination service refused the request (${words})`, {
    retry: status === 429,
  });
}
