/** Postern can't start, and a person can do something about it: the message says what. Shown without a stack. */
export class StartFailure extends Error {
  override readonly name = 'StartFailure';
}
