/** Objects by context id. `find` of what is not there is null: Map.get would trap. */
export class Table<T> {
  private readonly map: Map<u32, T> = new Map<u32, T>();

  get size(): i32 {
    return this.map.size;
  }

  add(id: u32, item: T): void {
    this.map.set(id, item);
  }

  find(id: u32): T | null {
    return this.map.has(id) ? this.map.get(id) : null;
  }

  remove(id: u32): void {
    this.map.delete(id);
  }

  ids(): u32[] {
    return this.map.keys();
  }
}
