import { readDocument } from '../../config/document.ts';
import { ConfigMistakes, type Mistake } from '../../config/mistakes.ts';
import { type LogLevel, readLog } from '../../config/observe.ts';
import { readServices, type ServiceInstance } from '../../config/service.ts';
import { readTls } from '../../config/tls.ts';

/** What the operator needs of the gateways' postern.yaml. */
export interface Base {
  services: ServiceInstance[];
  /** Absolute paths of PEM files. */
  additionalCAs: string[];
  logLevel: LogLevel;
}

/** @throws ConfigMistakes */
export function readBase(file: string): Base {
  const mistakes: Mistake[] = [];
  const section = readDocument(file, mistakes);
  const base = {
    services: readServices(section?.section('destinations')?.sections('services') ?? []),
    additionalCAs: readTls(section?.section('tls')),
    logLevel: readLog(section?.section('log')),
  };
  if (mistakes.length > 0) throw new ConfigMistakes(mistakes);
  return base;
}
