// Plain JavaScript without dependencies: it runs before anything is installed, on any Node from 20 on.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The Node that package.json pins; it runs TypeScript as it stands. */
export const PINNED_NODE = fileURLToPath(new URL('../../node_modules/node/bin/node', import.meta.url));

/** Runs `npm ci` where node_modules is missing or is not what package-lock.json says. Ends this process when that fails. */
export function installIfNeeded() {
  if (isInstalled()) return;
  console.log('postern: installing packages (npm ci) ...');
  const { status, error } = npm(['ci', '--no-audit', '--no-fund']);
  if (status === 0 && existsSync(PINNED_NODE)) return;
  console.error(`postern: npm ci failed${error ? `: ${error.message}` : ''}`);
  process.exit(1);
}

function npm(args) {
  const options = { cwd: ROOT, stdio: 'inherit' };
  const script = process.env.npm_execpath;
  if (script?.endsWith('.js')) return spawnSync(process.execPath, [script, ...args], options);
  return spawnSync('npm', args, options);
}

/** By content, not by time: git and `npm install` both leave times that say nothing. */
function isInstalled() {
  const there = packages('node_modules/.package-lock.json');
  if (!there || !existsSync(PINNED_NODE)) return false;
  const wanted = packages('package-lock.json');
  const isThere = ([path, { version, optional }]) => (there[path] ? there[path].version === version : optional);
  return Object.entries(wanted).every((entry) => entry[0] === '' || isThere(entry));
}

function packages(file) {
  try {
    return JSON.parse(readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8')).packages;
  } catch {
    return undefined;
  }
}
