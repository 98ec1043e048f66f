import type { Destination } from '../../../sidecar-auth/destination/destination.ts';
import { TokenCache } from '../../../sidecar-auth/token/cache.ts';
import { fileIssuer, type IssuerDeps } from '../../../sidecar-auth/token/file-issuer.ts';
import { DirectoryStore } from '../../../sidecar-auth/token/grants/directory.ts';
import { Grants } from '../../../sidecar-auth/token/grants/grants.ts';
import type { TokenIssuer } from '../../../sidecar-auth/token/issuer.ts';

export function grantsIn(folder: string): Grants {
  return new Grants(new DirectoryStore(folder));
}

/** An issuer as one process has it: with a cache of its own, and grants in a folder that others may share. */
export function issuerIn(folder: string, to: Destination, deps: Partial<IssuerDeps> = {}): TokenIssuer {
  return fileIssuer(to, { cache: new TokenCache(), grants: grantsIn(folder), ...deps });
}
