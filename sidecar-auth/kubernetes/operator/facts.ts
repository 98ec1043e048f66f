import type { Family } from '../../observe/openmetrics.ts';
import type { Facts } from '../../observe/server.ts';
import type { Operator } from './operator.ts';
import { availableOf } from './status.ts';

/** Three times as long as a candidate waits between two attempts, and some more. */
const CONTACT_MS = 10_000;

/** What an operator's process knows of itself. */
export interface State {
  /** While it leads. */
  operator: Operator | undefined;
  /** performance.now() of the API server's last answer about the Lease. */
  lastContact: number;
}

/** What is told of it, from the state as it is when someone asks. */
export function factsOf(state: State): Facts {
  return {
    notReady: async () => [
      ...(performance.now() - state.lastContact < CONTACT_MS ? [] : ['the API server does not answer']),
      ...(state.operator?.isReady === false ? ['it leads, and has not seen all resources yet'] : []),
    ],
    families: async () => families(state),
  };
}

function families({ operator }: State): Family[] {
  const isLeader = { labels: {}, value: operator ? 1 : 0 };
  const leader: Family = {
    name: 'postern_operator_leader',
    type: 'gauge',
    help: 'Whether this process leads.',
    samples: [isLeader],
  };
  return operator ? [leader, resources(operator)] : [leader];
}

/** SAP's name. */
function resources(operator: Operator): Family {
  const all = operator.resources.map(({ status }) => availableOf(status)?.status ?? 'Unknown');
  const samples = ['True', 'False', 'Unknown'].map((truth) => ({
    labels: { Available: truth },
    value: all.filter((one) => one === truth).length,
  }));
  return { name: 'tp_destination_crs', type: 'gauge', help: 'Destinations, by their condition Available.', samples };
}
