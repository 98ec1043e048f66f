import { API_VERSION, type Destination, KIND } from '../resource.ts';
import type { Api } from './api.ts';
import { pathOf } from './objects.ts';
import { timestamp, type Verdict } from './status.ts';

const EVENT = { apiVersion: 'v1', kind: 'Event' } as const;

/** What `kubectl describe` shows of a resource. An event is no more than a help: that it can't be written is nobody's failure. */
export async function recordEvent(api: Api, resource: Destination, { reason, message }: Verdict): Promise<void> {
  const { name, namespace, uid, resourceVersion } = resource.metadata;
  const time = timestamp(Date.now());
  const event = {
    ...EVENT,
    metadata: { generateName: `${name}.`, namespace },
    involvedObject: { apiVersion: API_VERSION, kind: KIND, name, namespace, uid, resourceVersion },
    type: reason === 'ConfigurationSuccessful' ? 'Normal' : 'Warning',
    reason,
    message,
    source: { component: 'postern-operator' },
    reportingComponent: 'postern-operator',
    firstTimestamp: time,
    lastTimestamp: time,
    count: 1,
  };
  await api.create(pathOf(EVENT, namespace), event).catch(() => {});
}
