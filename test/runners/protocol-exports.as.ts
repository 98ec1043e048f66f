// The protocol machines as a module without imports, for the runner that drives them from dialogs (pure-machine.ts).
import { exchangeBody, Route, rejectionBody, routeFrom, tokenAnswerFrom } from '../../filter/contract';
import { Bytes } from '../../filter/protocol/bytes';
import { failureOf, nameOf } from '../../filter/protocol/failure';
import { Machine, Phase } from '../../filter/protocol/machine';
import { machineFor } from '../../filter/protocol/protocols';
import { Question } from '../../filter/protocol/question';
import { Terms } from '../../filter/protocol/terms';

let input: Bytes = new Bytes();
let output: Bytes = new Bytes();
let route: Route = new Route();
let machine: Machine = machineFor(Bytes.of('smtp'), new Terms());

/** Room for `length` bytes, which the next call reads. */
export function reserve(length: i32): usize {
  input = new Bytes();
  for (let i = 0; i < length; i++) input.push(0);
  return input.address;
}

/** A new machine; the input is an answer of POST /v1/sessions. */
export function start(protocol: i32): void {
  const names: string[] = ['smtp', 'imap', 'pop3'];
  route = routeFrom(input);
  machine = machineFor(Bytes.of(names[protocol]), route.terms);
}

export function fromApp(): void {
  machine.fromApp(input, false);
}

export function appEnd(): void {
  machine.fromApp(input, true);
}

export function fromServer(): void {
  machine.fromServer(input);
}

export function serverEnd(): void {
  machine.serverEnd();
}

export function deadline(): void {
  machine.deadline();
}

/** The input is `<failure> <text>`. */
export function fallback(): void {
  const space = input.indexOf(0x20);
  machine.fallback(failureOf(input.slice(0, space)), input.slice(space + 1, input.length).toString());
}

/** The input is the answer of POST /v1/exchanges or POST /v1/rejections; empty: there was none. */
export function onTokenAnswer(): void {
  const answer = tokenAnswerFrom(input, route.id);
  const credentials = answer.credentials;
  if (credentials != null) machine.onCredentials(credentials);
  else if (answer.failure != 0) machine.onNoCredentials(answer.failure, answer.failureText);
  else machine.onNoAnswer();
}

/** What the machine asks of sidecar-auth: the path, a LF and the body; or nothing. */
function question(): Bytes {
  const asked = machine.question;
  const presented = machine.presented;
  machine.question = Question.none;
  if (asked == Question.rejection)
    return Bytes.of('/v1/rejections\n').append(
      rejectionBody(route.id, machine.refusal, machine.credentials.grant, presented),
    );
  if (asked == Question.none || presented == null) return new Bytes();
  return Bytes.of('/v1/exchanges\n').append(exchangeBody(route.id, presented));
}

/** Takes what is for the server (0), for the app (1), the failure's code (2), or for sidecar-auth (3); its length follows by `outputLength`. */
export function take(which: i32): usize {
  output = new Bytes();
  if (which == 2) {
    output.text(nameOf(machine.failure));
  } else if (which == 3) {
    output.append(question());
  } else {
    const source = which == 0 ? machine.toServer : machine.toApp;
    output.append(source);
    source.clear();
  }
  return output.address;
}

export function outputLength(): i32 {
  return output.length;
}

export function isOver(): bool {
  return machine.phase == Phase.over;
}

export function isClosing(): bool {
  return machine.phase == Phase.closing;
}

export function isLoggedIn(): bool {
  return machine.loggedIn;
}
