// Node has it; @types/node leaves it to the DOM's types, which this project does not have otherwise.
declare namespace WebAssembly {
  class Module {
    constructor(bytes: Uint8Array);
    static imports(module: Module): Array<{ module: string; name: string }>;
    static exports(module: Module): Array<{ name: string }>;
  }
  class Instance {
    constructor(module: Module, imports: Record<string, Record<string, unknown>>);
    readonly exports: Record<string, unknown>;
  }
  function compile(bytes: Uint8Array): Promise<Module>;
  function instantiate(module: Module, imports?: Record<string, Record<string, unknown>>): Promise<Instance>;
  interface Memory {
    readonly buffer: ArrayBuffer;
  }
}
