import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { ROOT } from '../../../cli/paths.ts';
import { StartFailure } from '../../../cli/start-failure.ts';
import { wasmBuild } from '../../../cli/wasm-build.ts';

const TARGET = {
  target: 'protocol',
  entry: 'src/index.ts',
  output: 'build/out.wasm',
  sources: ['src', 'asconfig.json'],
};

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'postern-wasm-'));
  mkdirSync(join(root, 'src/deep'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  writeFileSync(join(root, 'asconfig.json'), readFileSync(join(ROOT, 'asconfig.json')));
  writeFileSync(
    join(root, 'src/index.ts'),
    `import { one } from './deep/one';\nexport function f(): i32 { return one(); }\n`,
  );
  source(1);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function source(value: number | string): void {
  writeFileSync(join(root, 'src/deep/one.ts'), `export function one(): i32 { return ${value}; }\n`);
}

async function result(): Promise<unknown> {
  const module = await WebAssembly.compile(readFileSync(await wasmBuild(TARGET, () => {}, root)));
  expect(WebAssembly.Module.imports(module)).toEqual([]);
  return ((await WebAssembly.instantiate(module)).exports.f as () => number)();
}

test('built when it is missing, left alone when nothing changed, built again when a source is newer', async () => {
  expect(await result()).toBe(1);
  const lines: string[] = [];
  const built = statSync(join(root, TARGET.output)).ino;
  await wasmBuild(TARGET, (line) => lines.push(line), root);
  expect([lines, statSync(join(root, TARGET.output)).ino]).toEqual([[], built]);
  source(2);
  const later = new Date(Date.now() + 1000);
  utimesSync(join(root, 'src/deep/one.ts'), later, later);
  expect(await result()).toBe(2);
});

test('two at once, and no draft is left', async () => {
  expect(await Promise.all([result(), result()])).toEqual([1, 1]);
  expect(readdirSync(join(root, 'build'))).toEqual(['out.wasm']);
});

test("a source that does not compile: the compiler's words, and the old output stays", async () => {
  expect(await result()).toBe(1);
  source('nonsense');
  const failure = await wasmBuild(TARGET, () => {}, root).catch((error) => error);
  expect(failure).toBeInstanceOf(StartFailure);
  expect(failure.message).toContain("Cannot find name 'nonsense'");
  expect(readdirSync(join(root, 'build'))).toEqual(['out.wasm']);
});
