import { expect, it, vi } from 'vitest';
import { countedFamilies } from '../../../sidecar-auth/observe/counted.ts';
import { openMetrics } from '../../../sidecar-auth/observe/openmetrics.ts';
import { afterwards, BASIC, service, simulator } from '../destination-service/world.ts';
import { destination, provider, temporaryFolder, tokenService } from '../token/world.ts';
import { issuerIn } from '../token/world-issuer.ts';
import { readOpenMetrics, valuesOf } from './check.ts';

const values = (name: string) => valuesOf(readOpenMetrics(openMetrics(countedFamilies())), name) ?? [];

it('an outage of the Destination service, and what stands in for it', async () => {
  vi.useFakeTimers({ toFake: ['Date'] });
  afterwards(() => vi.useRealTimers());
  const running = await simulator({ accounts: { provider: { subaccount: { destinations: [BASIC] } } } });
  const { source } = await service(running);
  const [labels, question] = [{ destination: 'office' }, { destination: 'office', wanted: 'configuration' }];
  await source.find({ name: 'office' });
  running.faults.destination = { kind: '5xx' };
  vi.setSystemTime(Date.now() + 121_000);
  await source.find({ name: 'office' });
  expect(values('postern_stand_ins')).toEqual([[{ ...labels, by: 'last_answer' }, 1]]);
  delete running.faults.destination;
  vi.setSystemTime(Date.now() + 11_000);
  await source.find({ name: 'office' });
  await source.find({ name: 'nowhere' });
  expect(values('postern_stand_ins')).toEqual([]);
  expect(values('postern_destination_service_requests')).toEqual([
    [{ ...question, outcome: 'ok' }, 2],
    [{ ...question, outcome: 'outage' }, 1],
    [{ ...question, destination: 'nowhere', outcome: 'not_found' }, 1],
  ]);
  expect(values('postern_token_requests')).toEqual([[{ source: 'binding', outcome: 'ok' }, 1]]);
});

it('tokens of a destination of its own, asked for and refused; those that are kept are not asked for', async () => {
  const op = await provider();
  const issuer = (name: string, clientId: string) => {
    const to = destination('client_credentials', tokenService(op.tokenEndpoint, { clientId, scope: 'mail' }));
    return temporaryFolder().then((folder) => issuerIn(folder, { ...to, name }));
  };
  const good = await issuer('good', 'service');
  await good.silent?.();
  await good.silent?.();
  const bad = await issuer('bad', 'nobody');
  await expect(bad.silent?.()).rejects.toMatchObject({ code: 'token' });
  const own = values('postern_token_requests').filter(([{ source }]) => source === 'destination');
  expect(own).toEqual([
    [{ source: 'destination', destination: 'good', outcome: 'ok' }, 1],
    [{ source: 'destination', destination: 'bad', outcome: 'refused' }, 1],
  ]);
  const times = values('postern_phase_seconds').filter(([{ phase, le }]) => phase === 'token' && le === '+Inf');
  expect(times.map(([{ destination }, count]) => [destination, count])).toEqual([
    ['good', 1],
    ['bad', 1],
  ]);
});
