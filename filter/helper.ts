// The calls to sidecar-auth (docs/contract.md).
import { Fields, field, Route, routeFrom } from './contract';
import { Buffer, callSucceeded, httpCall, readBuffer } from './host/host';
import { CHANGES_CALL, REJECTION_CALL, SESSION_CALL } from './limits';
import { Bytes } from './protocol/bytes';
import { Failure } from './protocol/failure';

const CLUSTER = 'postern-helper';

/** Asks for the route of this listener id, acting on its root context. The call's token, or -1. */
export function askForRoute(listener: Bytes): i64 {
  return httpCall(CLUSTER, 'POST', '/v1/sessions', field('listener', listener), SESSION_CALL);
}

export function askForChanges(since: string): i64 {
  return httpCall(CLUSTER, 'GET', `/v1/changes?since=${since}`, new Bytes(), CHANGES_CALL);
}

/** Nobody waits for the answer. */
export function tellRejection(route: Bytes, text: string): void {
  const body = field('route', route)
    .append(field('failure', Bytes.of('rejected')))
    .append(field('text', Bytes.of(text)));
  httpCall(CLUSTER, 'POST', '/v1/rejections', body, REJECTION_CALL);
}

/** The route in the answer at hand. */
export function routeAtHand(bodyLength: i32): Route {
  if (!callSucceeded()) return Route.none(Failure.internal, 'sidecar-auth does not answer');
  return routeFrom(readBuffer(Buffer.callResponse, bodyLength));
}

/** The changes in the answer at hand, or null where there was none. */
export function changesAtHand(bodyLength: i32): Fields | null {
  if (!callSucceeded()) return null;
  const fields = new Fields(readBuffer(Buffer.callResponse, bodyLength));
  return fields.valid && fields.has('since') ? fields : null;
}
