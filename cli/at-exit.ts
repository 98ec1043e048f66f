/**
 * Runs `cleanUp` (synchronous) when this process exits by itself or by `process.exit`; what was asked for last comes first.
 * @returns a function that calls it off
 */
export function atExit(cleanUp: () => void): () => void {
  process.prependOnceListener('exit', cleanUp);
  return () => process.off('exit', cleanUp);
}
