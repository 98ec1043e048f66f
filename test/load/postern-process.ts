import { up } from '../../cli/up.ts';

/** `up` in a process of its own, whose standard error holds all that Postern logs. Arguments: FILE and the number of workers. */
const [, , configFile = '', workers] = process.argv;
const running = await up({ configFile, workers: Number(workers) });

process.on('message', async (request: 'helperPid' | 'stop') => {
  if (request === 'helperPid') {
    process.send?.({ helperPid: running.helperPid() });
    return;
  }
  await running.stop();
  process.exit(0);
});
// The test is gone: nothing may be left of it.
process.once('disconnect', async () => {
  await running.stop();
  process.exit(1);
});
process.send?.({ runDir: running.runDir });
