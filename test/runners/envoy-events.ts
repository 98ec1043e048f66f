import type { Dialog, Event } from './dialog.ts';

/** The events as far as Envoy can show them. */
export function eventsFor({ events, unreachable }: Dialog): Event[] {
  return unreachable ? withoutServer(events) : withoutEarlyFarewell(events);
}

/** Where nobody answers Envoy's own listener takes the server's part, at once: only the sum can be seen. */
function withoutServer(events: Event[]): Event[] {
  const said = events.filter((event) => event.kind === 'says' && event.side === 'app');
  const received = events.map((event) => (event.kind === 'expect' ? event.received.app : '')).join('');
  return [...said, { kind: 'expect', received: { app: anyReason(received), server: '' } }];
}

/** Envoy can send nothing to the server before the app's first byte: the machine's farewell is dropped, the error and the close are not. */
function withoutEarlyFarewell(events: Event[]): Event[] {
  const first = events.findIndex((event) => event.kind === 'says' && event.side === 'app');
  return events.map((event, index) =>
    event.kind === 'expect' && (first < 0 || index < first)
      ? { ...event, received: { ...event.received, server: '' } }
      : event,
  );
}

/** The other runners give a reason of their own. */
function anyReason(text: string): string {
  return text.replace('nobody answered', '\u{f000}');
}
