import { connect, type Socket } from 'node:net';

/** A client that types what the test says, octet by octet if it must. */
export interface Talk {
  socket: Socket;
  send(text: string): void;
  /** What came since the last `until`, up to and with the match. Rejects if the server ends before. */
  until(pattern: RegExp): Promise<string>;
  /** Everything not yet read, once the server has ended. */
  rest(): Promise<string>;
}

export function talk(port: number): Talk {
  const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true });
  let received = '';
  let ended = false;
  let wake = () => {};
  const news = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    received += chunk;
    wake();
  });
  for (const event of ['end', 'error', 'close']) {
    socket.on(event, () => {
      ended = true;
      wake();
    });
  }
  const take = (count: number) => {
    const taken = received.slice(0, count);
    received = received.slice(count);
    return taken;
  };
  return {
    socket,
    send: (text) => void socket.write(text, 'latin1'),
    async until(pattern) {
      for (;;) {
        const match = pattern.exec(received);
        if (match) return take(match.index + match[0].length);
        if (ended) throw new Error(`the server ended before ${pattern}: ${received}`);
        await news();
      }
    },
    async rest() {
      while (!ended) await news();
      socket.end();
      return take(received.length);
    },
  };
}
