import type { Destination } from '../destination/destination.ts';
import type { Config, Main, Reading } from './config.ts';
import { allMistakes, byName, misfits, unserved } from './cross-checks.ts';
import type { Mistake } from './mistakes.ts';

export interface Taken {
  config: Config;
  mistakes: Mistake[];
  /** How many of them are listeners whose destination is in no file: there nothing stays as it was. */
  unserved: number;
}

/**
 * The configuration after an edit while mail flows: what has mistakes stays as it was, the rest is taken over. A destination
 * whose file is gone is gone; a listener that names it stays, and answers `unknown_destination`.
 */
export function takeOver(last: Config, reading: Reading): Taken {
  const candidates = { ...reading, destinations: withKept(last, reading) };
  const main = acceptable(last, candidates) ?? last;
  const destinations = candidates.destinations.flatMap((destination) =>
    misfits(main, destination).length === 0 ? destination : (ofFile(last, destination.file) ?? []),
  );
  return {
    config: { ...only(main), destinations: byName(destinations), files: reading.files },
    mistakes: allMistakes(candidates, reading.main ?? last),
    unserved: unserved(candidates, reading.main ?? last).length,
  };
}

/** Destinations in which there was no mistake, and the last versions of those in which there is one; who had a name keeps it. */
function withKept(last: Config, { destinations, broken, complete }: Reading): Destination[] {
  if (!complete) return [...last.destinations.values()];
  const kept = broken.flatMap(({ file }) => ofFile(last, file) ?? []);
  const holdsName = ({ name, file }: Destination) => last.destinations.get(name)?.file === file;
  return [...destinations, ...kept].sort((a, b) => Number(holdsName(b)) - Number(holdsName(a)));
}

function ofFile(config: Config, file: string): Destination | undefined {
  return [...config.destinations.values()].find((destination) => destination.file === file);
}

/** The new FILE, unless it breaks a destination that goes together with the old one. */
function acceptable(last: Config, { main, destinations }: Reading): Main | undefined {
  if (!main) return undefined;
  const breaks = (one: Destination) => misfits(main, one).length > 0 && misfits(last, one).length === 0;
  return destinations.some(breaks) ? undefined : main;
}

/** What FILE itself says of a configuration. */
export function only(main: Main): Main {
  const { file, directory, services, grants, connectivity, tls, listeners, loginTimeout, observe, logLevel } = main;
  return {
    file,
    ...(directory !== undefined && { directory }),
    services,
    grants,
    tls,
    listeners,
    loginTimeout,
    logLevel,
    ...(connectivity && { connectivity }),
    ...(observe && { observe }),
  };
}
