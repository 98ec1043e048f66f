import { Failure } from '../../failure.ts';
import { FULL_LOG_MS } from '../limits.ts';

/** Where grants outlive a restart, and are shared by replicas. Names have letters, digits, `-` and `_`. */
export interface GrantStore {
  read(name: string): Promise<Stored | undefined>;
  /**
   * Compare and swap: writes if the entry still has this version (undefined: if there is none), durably. Returns the new version, or undefined
   * where someone else was first.
   * @throws StoreFull where it is a new entry for which there is no room: what is in use never goes in its favour
   */
  write(name: string, text: string, version: string | undefined): Promise<string | undefined>;
  /** Removes the entry if it still has this version. */
  remove(name: string, version: string): Promise<void>;
  /** Whether there is such an entry, as far as is known without waiting: it may be some seconds old. */
  has(name: string): boolean;
}

export interface Stored {
  text: string;
  version: string;
}

/** There is no room. */
export class StoreFull extends Failure {
  constructor() {
    super('token', 'the store of grants is full');
  }
}

export interface StoreLog {
  warn(details: object, text: string): void;
}

/** Whether it is a grant that an app presents. Those of `postern login` and the key have no limit: a person makes each. */
export function isPresented(name: string): boolean {
  return name.startsWith('grant-');
}

/** The same store, whose errors are Failures of code `token`. That it is full stands in the log, too. */
export function told(store: GrantStore, log?: StoreLog): GrantStore {
  let reportedAt = 0;
  const report = (error: unknown): never => {
    if (error instanceof StoreFull && Date.now() - reportedAt > FULL_LOG_MS) {
      reportedAt = Date.now();
      log?.warn({}, `${error.message}: who presents a token for the first time is refused`);
    }
    throw error;
  };
  return {
    read: (name) => orFailure(store.read(name)),
    write: (name, text, version) => orFailure(store.write(name, text, version)).catch(report),
    remove: (name, version) => orFailure(store.remove(name, version)),
    has: (name) => store.has(name),
  };
}

async function orFailure<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof Failure) throw error;
    const { code, cause } = error as { code?: unknown; cause?: { code?: unknown } };
    throw new Failure('token', `the store of grants can't be used (${code ?? cause?.code ?? 'unknown error'})`, {
      cause: error,
    });
  }
}
