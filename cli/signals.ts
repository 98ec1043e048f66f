/** Milliseconds in which a second signal is taken for the first: terminal, shell, npm and our own wrapper each pass one Ctrl-C on. */
const SAME_SIGNAL = 1000;

/** Ctrl-C, SIGTERM or a closed terminal: `stop` once; from the second on, `kill`. */
export function onStopSignals(stop: () => void, kill: () => void): void {
  let first = 0;
  const handle = () => {
    if (first === 0) {
      first = Date.now();
      stop();
    } else if (Date.now() - first > SAME_SIGNAL) kill();
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, handle);
}
