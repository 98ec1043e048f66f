import path from 'node:path';
import type { Place } from '../places.ts';

/** What `world` tells `matrix`. */
export interface Handout {
  places: Place[];
  user: string;
  refreshToken: string;
  /** By destination: a code is redeemed once, and is good for that destination from then on. */
  codes: Record<string, string>;
}

export function handoutFile(directory: string): string {
  return path.join(directory, 'world.json');
}

/** What an app must bring to this destination; undefined for those that want nothing. */
export function tokenFor({ destination, authentication }: Place, { refreshToken, codes }: Handout): string | undefined {
  return authentication === 'OAuth2RefreshToken' ? refreshToken : codes[destination];
}
