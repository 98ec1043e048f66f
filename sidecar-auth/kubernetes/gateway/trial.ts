import { join } from 'node:path';
import { loadConfig } from '../../config/config.ts';
import { ConfigMistakes, type Mistake } from '../../config/mistakes.ts';
import type { Destination } from '../../destination/destination.ts';
import type { Base } from './base.ts';
import { type Accepted, FILE, filesOf, type Place } from './files.ts';
import { Folder } from './folder.ts';
import { isNeverServer } from './own-addresses.ts';

/**
 * Reads each resource alone, as a configuration of its own, before it becomes part of the one in force: there a mistake in FILE would hold up everybody's changes.
 * What is right is said by the code that reads it later, so nothing is checked twice in two ways.
 */
export class Trial {
  readonly #folder: Folder;
  readonly #allowLoopback: boolean;

  constructor(path: string, allowLoopback: boolean) {
    this.#folder = new Folder(path);
    this.#allowLoopback = allowLoopback;
  }

  /** The mistakes, one line each, without secrets; without a resource those of `base`. */
  mistakes(base: Base, place: Place, key?: string, accepted?: Accepted): string[] {
    try {
      this.#folder.write(filesOf(base, place, new Map(key !== undefined && accepted ? [[key, accepted]] : [])));
      const { destinations, files } = loadConfig(join(this.#folder.path, FILE));
      const outside = files.filter((file) => !file.startsWith(`${this.#folder.path}/`));
      if (outside.length > 0) return [`a destination must not name ${outside.join(', ')}`];
      const destination = destinations.get(key ?? '');
      return destination && !this.#allowLoopback ? ofLoopback(destination) : [];
    } catch (error) {
      if (error instanceof ConfigMistakes) return error.mistakes.map((mistake) => this.#line(mistake));
      return [(error as Error).message];
    } finally {
      this.#folder.write(new Map()); // it was a Secret's content
    }
  }

  #line({ key, text }: Mistake): string {
    return `${key ? `${key}: ` : ''}${text.replaceAll(`${this.#folder.path}/`, '')}`;
  }
}

/** Names that lead there are seen when they are resolved: own-addresses.ts. Behind the Cloud Connector a name is another machine's. */
function ofLoopback({ host, onPremise, login }: Destination): string[] {
  if (!onPremise && (/^(.*\.)?localhost\.?$/i.test(host) || isNeverServer(host)))
    return [`${host} is the gateway's pod itself`];
  // Plain HTTP is allowed to this machine only, on which there is no token service.
  return login.kind === 'oauth' && !login.token.url.startsWith('https:')
    ? ['tokenServiceURL must be an https URL']
    : [];
}
