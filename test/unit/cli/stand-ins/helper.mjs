// Stands in for sidecar-auth: `helper.mjs LISTENERS-FILE LISTENERS-JSON`.
import { writeFileSync } from 'node:fs';

const [file, listeners] = process.argv.slice(2);
if (listeners === 'broken') process.exit(1);
writeFileSync(file, listeners);
process.send({ ready: true });
process.on('disconnect', () => process.exit());
