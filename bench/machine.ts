import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { availableParallelism, release, totalmem } from 'node:os';
import { ENVOY_VERSION } from '../cli/envoy-binary.ts';
import { ROOT } from '../cli/paths.ts';
import type { Machine } from './measurement.ts';
import { goProgram } from './tool.ts';

export function machine(): Machine {
  const cpu = /^model name\s*:\s*(.+)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? process.arch;
  return { cpu, processors: availableParallelism(), memoryGiB: totalmem() / 2 ** 30, kernel: release() };
}

/** Of the programs that are there. */
export async function versions(envoy: string): Promise<Record<string, string>> {
  const found = {
    Envoy: first(/\/(\d+\.\d+\.\d+)\//, envoy, ['--version']) ?? ENVOY_VERSION,
    Go: first(/go(\d\S+)/, await goProgram(() => {}), ['version']),
    Node: process.versions.node,
    nginx: first(/nginx\/(\S+)/, 'nginx', ['-v']),
    Dovecot: first(/^(\S+)/, 'dovecot', ['--version']),
  };
  return Object.fromEntries(Object.entries(found).filter((pair): pair is [string, string] => pair[1] !== undefined));
}

function first(pattern: RegExp, command: string, args: string[]): string | undefined {
  const { stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  return error ? undefined : pattern.exec(stdout + stderr)?.[1];
}

/** The commit that is measured, and whether files differ from it. */
export function commit(): { commit?: string; dirty: boolean } {
  const head = git('rev-parse', 'HEAD');
  return { ...(head && { commit: head }), dirty: git('status', '--porcelain') !== '' };
}

function git(...args: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', args, { cwd: ROOT, encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}
