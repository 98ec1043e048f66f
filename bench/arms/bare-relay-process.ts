import { once } from 'node:events';
import { connect, createServer } from 'node:net';

// The least that a relay in Node can do. Arguments: pairs of a Unix socket and a port of the mail server.
const args = process.argv.slice(2);
for (let at = 0; at < args.length; at += 2) {
  const server = createServer({ noDelay: true }, (app) => {
    const mail = connect({ host: '127.0.0.1', port: Number(args[at + 1]), noDelay: true });
    app.on('error', () => mail.destroy());
    mail.on('error', () => app.destroy());
    app.pipe(mail);
    mail.pipe(app);
  });
  await once(server.listen(args[at]), 'listening');
}
process.once('disconnect', () => process.exit());
process.send?.('listening');
