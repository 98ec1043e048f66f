import { Failure } from '../../failure.ts';

/** Where grants outlive a restart, and are shared by replicas. Names have letters, digits, `-` and `_`. */
export interface GrantStore {
  read(name: string): Promise<Stored | undefined>;
  /**
   * Compare and swap: writes if the entry still has this version (undefined: if there is none), durably. Returns the new version, or undefined
   * where someone else was first.
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

/** The same store, whose errors are Failures of code `token`. */
export function told(store: GrantStore): GrantStore {
  return {
    read: (name) => orFailure(store.read(name)),
    write: (name, text, version) => orFailure(store.write(name, text, version)),
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
