import { setTimeout as sleep } from 'node:timers/promises';
import { askAdmin } from '../../../envoy/admin.ts';
import type { Page } from '../../observe/server.ts';
import type { Api } from './api.ts';

/** Milliseconds between two looks at Envoy. */
const LOOK_MS = 500;
/** Milliseconds in which nodes learn that this pod gets no new connections; until then one may still come. */
const SPREAD_MS = 5_000;

export interface DrainOptions {
  api: Api;
  /** This pod; undefined where it is not known. */
  pod?: { namespace: string; name: string };
  adminSocket: string;
  /** The pod's end begins: it is ready no more. */
  onEnd: () => void;
  log: { info(details: object, text: string): void; warn(details: object, text: string): void };
}

/**
 * The page /drain, for the preStop hook of Envoy's container: it answers when Envoy has no session any more. A pod ends in this order: Kubernetes takes it out of all
 * Services and runs that hook; when it has its answer, Envoy is told to end, at once, whatever it has; and when it has ended we are told, for as a native sidecar
 * (an init container with restartPolicy Always) we outlive it. What a session needs of us (relay, tokens) is there until then.
 * terminationGracePeriodSeconds limits it all. The pod's network reaches this page, so it believes only in an end that the API server knows of, where that can be asked.
 */
export function drainPage({ api, pod, adminSocket, onEnd, log }: DrainOptions): () => Promise<Page> {
  return async () => {
    if (pod && (await isStaying(api, pod))) {
      log.warn({}, 'somebody asks this pod to drain, but it is not ending');
      return { status: 403, body: 'this pod is not ending\n' };
    }
    log.info({}, 'the pod ends: it waits for its sessions');
    onEnd();
    await drained(adminSocket);
    log.info({}, 'there is no session any more');
    return { status: 200, body: 'drained\n' };
  };
}

/** Whether the API server says that the pod is not ending. */
async function isStaying(api: Api, { namespace, name }: { namespace: string; name: string }): Promise<boolean> {
  try {
    const path = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pods/${encodeURIComponent(name)}`;
    const { status, body } = await api.get(path);
    const { metadata } = (body ?? {}) as { metadata?: { deletionTimestamp?: string } };
    return status === 200 && metadata?.deletionTimestamp === undefined;
  } catch {
    return false;
  }
}

/** Resolves when Envoy has no session any more, or is gone. */
export async function drained(adminSocket: string, spreadMs = SPREAD_MS): Promise<void> {
  const until = Date.now() + spreadMs;
  for (;;) {
    const left = await sessions(adminSocket).catch((error: NodeJS.ErrnoException) =>
      error.code === 'ENOENT' || error.code === 'ECONNREFUSED' ? undefined : 1,
    );
    if (left === undefined || (left === 0 && Date.now() >= until)) return;
    await sleep(LOOK_MS);
  }
}

/** Those of its admin interface and of the fallback, which are halves of others, do not count. */
async function sessions(adminSocket: string): Promise<number> {
  const stats = await askAdmin(adminSocket, '/stats?usedonly&filter=^listener%5C..*%5C.downstream_cx_active$');
  return stats
    .split('\n')
    .filter((line) => !/^listener\.admin\.|fallback/.test(line))
    .reduce((sum, line) => sum + Number(/: (\d+)$/.exec(line)?.[1] ?? 0), 0);
}
