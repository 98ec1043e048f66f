// The calls to sidecar-auth (docs/contract.md).
import { exchangeBody, Fields, field, Route, rejectionBody, routeFrom, TokenAnswer, tokenAnswerFrom } from './contract';
import { Buffer, callSucceeded, httpCall, readBuffer } from './host/host';
import { CHANGES_CALL, SESSION_CALL, TOKEN_CALL } from './limits';
import { Bytes } from './protocol/bytes';
import { clean, Failure } from './protocol/failure';
import { SERVER_TEXT } from './protocol/limits';
import { Bearer } from './protocol/sasl/bearer';

const CLUSTER = 'postern-helper';

/** Asks for the route of this listener id, acting on its root context. The call's token, or -1. */
export function askForRoute(listener: Bytes): i64 {
  return httpCall(CLUSTER, 'POST', '/v1/sessions', field('listener', listener), SESSION_CALL);
}

export function askForChanges(since: string): i64 {
  return httpCall(CLUSTER, 'GET', `/v1/changes?since=${since}`, new Bytes(), CHANGES_CALL);
}

/** Asks for a token for what an app brought, acting on the listener's root context. The call's token, or -1. */
export function askForExchange(route: Bytes, presented: Bearer): i64 {
  return httpCall(CLUSTER, 'POST', '/v1/exchanges', exchangeBody(route, presented), TOKEN_CALL);
}

/** Tells that the server refused the login, in words `text`, and asks for a newer token. The call's token, or -1. */
export function tellRejection(route: Bytes, text: string, grant: Bytes, presented: Bearer | null): i64 {
  const body = rejectionBody(route, clean(text, SERVER_TEXT), grant, presented);
  return httpCall(CLUSTER, 'POST', '/v1/rejections', body, TOKEN_CALL);
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

/** The answer at hand to an exchange or a rejection for this route. */
export function tokenAnswerAtHand(bodyLength: i32, route: Bytes): TokenAnswer {
  return callSucceeded() ? tokenAnswerFrom(readBuffer(Buffer.callResponse, bodyLength), route) : new TokenAnswer();
}
