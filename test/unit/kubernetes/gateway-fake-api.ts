import type { Api, WatchEvent } from '../../../sidecar-auth/kubernetes/gateway/api.ts';
import type { Named } from '../../../sidecar-auth/kubernetes/gateway/follow.ts';

/** An API server in memory: collections by path, and watches that it ends when it is told to. */
export class FakeApi implements Api {
  collections: Record<string, Named[]> = {};
  objects: Record<string, object> = {};
  status = 200;
  asked: string[] = [];
  watches: { path: string; tell: (event: WatchEvent) => void; end: (error?: Error) => void }[] = [];

  async get(path: string): Promise<{ status: number; body: unknown }> {
    this.asked.push(path);
    if (this.status === 0) throw new Error('connect ECONNREFUSED');
    const items = this.collections[path];
    if (items) return { status: this.status, body: { items, metadata: { resourceVersion: '7' } } };
    const object = this.objects[path];
    return { status: object ? this.status : 404, body: object };
  }

  watch(path: string, _: Record<string, string>, tell: (event: WatchEvent) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      this.watches.push({ path, tell, end: (error) => (error ? reject(error) : resolve()) });
    });
  }

  close(): void {}
}
