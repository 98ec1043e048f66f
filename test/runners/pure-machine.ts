import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { sessionAnswer } from './answer.ts';
import type { Dialog } from './dialog.ts';

const FILE = process.env.PROTOCOL_WASM ?? join(import.meta.dirname, '..', '..', 'build', 'protocol.wasm');
const PROTOCOLS = ['smtp', 'imap', 'pop3'];

interface Exports {
  memory: WebAssembly.Memory;
  reserve(length: number): number;
  start(protocol: number): void;
  take(which: number): number;
  outputLength(): number;
  isOver(): number;
  isClosing(): number;
  isLoggedIn(): number;
  fromApp(): void;
  fromServer(): void;
  appEnd(): void;
  serverEnd(): void;
  deadline(): void;
  fallback(): void;
  onTokenAnswer(): void;
}

const module = new WebAssembly.Module(readFileSync(FILE));
if (WebAssembly.Module.imports(module).length > 0) throw new Error('the protocol machines must not import anything');

/** One machine of filter/protocol/, as the compiled module without imports. */
export class PureMachine {
  private readonly exports: Exports;

  constructor(dialog: Dialog) {
    this.exports = new WebAssembly.Instance(module, {}).exports as unknown as Exports;
    this.input(Buffer.from(sessionAnswer(dialog)));
    this.exports.start(PROTOCOLS.indexOf(dialog.protocol));
  }

  says(side: 'app' | 'server', bytes: Buffer): void {
    this.input(bytes);
    if (side === 'app') this.exports.fromApp();
    else this.exports.fromServer();
  }

  ends(side: 'app' | 'server'): void {
    this.input(Buffer.alloc(0));
    if (side === 'app') this.exports.appEnd();
    else this.exports.serverEnd();
  }

  deadline(): void {
    this.exports.deadline();
  }

  fallback(code: string, text: string): void {
    this.input(Buffer.from(`${code} ${text}`));
    this.exports.fallback();
  }

  /** An answer that is no 200 is none. */
  answers(status: string, body: string): void {
    this.input(Buffer.from(status === '200' ? body : '', 'latin1'));
    this.exports.onTokenAnswer();
  }

  /** What it asks of sidecar-auth, or undefined. */
  question(): { path: string; body: string } | undefined {
    const text = this.output(3);
    const end = text.indexOf('\n');
    return end < 0 ? undefined : { path: text.slice(0, end), body: text.slice(end + 1) };
  }

  take(side: 'app' | 'server'): string {
    return this.output(side === 'server' ? 0 : 1);
  }

  get failure(): string {
    return this.output(2);
  }

  get over(): boolean {
    return this.exports.isOver() !== 0;
  }

  get closing(): boolean {
    return this.exports.isClosing() !== 0;
  }

  get loggedIn(): boolean {
    return this.exports.isLoggedIn() !== 0;
  }

  private output(which: number): string {
    const address = this.exports.take(which);
    return Buffer.from(this.exports.memory.buffer, address, this.exports.outputLength()).toString('latin1');
  }

  private input(bytes: Buffer): void {
    const address = this.exports.reserve(bytes.length);
    new Uint8Array(this.exports.memory.buffer, address, bytes.length).set(bytes);
  }
}
