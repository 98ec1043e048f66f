import { addressText } from '../config/address.ts';
import type { Entry } from '../route/table.ts';
import type { Labels } from './openmetrics.ts';

/** A listener and where it leads. An address that is given to another destination makes another series. */
export function labelsOf({ listener, protocol }: Entry): Labels {
  return {
    destination: listener.destination,
    tenant: listener.service?.tenant ?? '',
    protocol,
    listener: addressText(listener.address),
  };
}
