// The container `world` of docker-compose.yml: everything that Postern needs around it, and Postern's configuration for its two containers.
import { chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { onStopSignals } from '../../cli/signals.ts';
import { bootstrap } from '../../envoy/bootstrap.ts';
import { writeCaBundle } from '../../envoy/ca-bundle.ts';
import { runDirFiles } from '../../envoy/run-dir.ts';
import { CLIENT_ID } from '../properties.ts';
import { startWorldWith } from '../world.ts';
import { type Handout, handoutFile } from './handout.ts';
import { startRealMail } from './mail.ts';

const { values } = parseArgs({
  options: {
    /** Gets postern.yaml and what that names. */
    config: { type: 'string', default: '/etc/postern' },
    /** The run directory of Envoy and sidecar-auth. */
    'run-dir': { type: 'string', default: '/run/postern' },
    /** Whom both belong to: the user that Envoy and sidecar-auth run as. */
    owner: { type: 'string', default: '10001' },
  },
});
const { config, 'run-dir': runDir } = values;
const owner = Number(values.owner);
/** Dovecot's and Postfix' own files; a short path, for sockets are in it. */
const MAIL_HOME = '/tmp/mail';

/** What an earlier start has left: its ports and secrets are gone. */
for (const folder of [config, runDir]) {
  for (const name of readdirSync(folder)) rmSync(path.join(folder, name), { recursive: true, force: true });
}
rmSync(MAIL_HOME, { recursive: true, force: true });
const world = await startWorldWith(config, {
  startMail: (directory, password, provider) => startRealMail(directory, MAIL_HOME, password, provider),
  starttls: true,
  // A published port does not lead to a container's loopback; docker-compose.yml publishes on the host's.
  address: '0.0.0.0',
});
const files = runDirFiles(runDir);
writeCaBundle(files.caFile, [path.join(config, 'certificates', 'ca.pem')]);
writeFileSync(files.bootstrapFile, JSON.stringify(bootstrap({ runDir, caFile: files.caFile })), { mode: 0o600 });
mkdirSync(path.join(config, 'grants'), { recursive: true, mode: 0o700 });
giveAway(config);
giveAway(runDir);
const { places, user, provider } = world;
const codes: Handout['codes'] = {};
for (const { destination, authentication } of places) {
  if (authentication !== 'OAuth2AuthorizationCode') continue;
  codes[destination] = await provider.authorizationCode({ client: CLIENT_ID, user });
}
const handout: Handout = { places, user, refreshToken: world.tokens.refreshToken, codes };
// Last, for it is by this file that the other containers know that everything is there.
writeFileSync(handoutFile(config), JSON.stringify(handout), { mode: 0o600 });
console.log('postern: Dovecot, Postfix, an OpenID provider, a Destination service and a Connectivity Proxy are ready');
console.log('postern: `docker compose logs matrix` shows the cells and what to try');

onStopSignals(
  () => void world.close().then(() => process.exit(0)),
  () => process.exit(130),
);

function giveAway(folder: string): void {
  chownSync(folder, owner, owner);
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    chownSync(path.join(entry.parentPath, entry.name), owner, owner);
  }
}
