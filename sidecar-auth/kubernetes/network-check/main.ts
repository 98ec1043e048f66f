import { lookup } from 'node:dns/promises';
import { parseArgs } from 'node:util';
import { reached } from './reached.ts';

/** `node main.js --host SERVICE --port PORT`: the pod of `helm test`. Exit codes: 0 nobody was reached, 1 NetworkPolicies are ignored, 2 it can't be told. */
const { values } = parseArgs({ options: { host: { type: 'string' }, port: { type: 'string' } } });
const { host = '', port = '' } = values;

const EXIT = { enforced: 0, ignored: 1, unknown: 2 } as const;

const addresses = await lookup(host, { all: true }).then(
  (found) => found.map(({ address }) => address),
  () => [],
);
if (addresses.length === 0) {
  console.log(
    `${host} has no ready pod: whether NetworkPolicies are heeded can't be told. Try again once the gateway is ready.`,
  );
  process.exit(EXIT.unknown);
}
const open = await reached(addresses, Number(port));
if (open.length === 0) {
  console.log(
    `None of ${addresses.length} gateway pods could be reached from here: the network heeds NetworkPolicies.`,
  );
  process.exit(EXIT.enforced);
}
console.log(
  `${open.join(', ')} port ${port} could be reached from here, which a NetworkPolicy forbids: THE NETWORK OF THIS CLUSTER IGNORES NetworkPolicies. ` +
    'Every pod can use every Destination. Demand a login of the application (spec.app of the Destination), or use a network that heeds them, or Istio with an AuthorizationPolicy.',
);
process.exit(EXIT.ignored);
