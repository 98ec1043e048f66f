import { skipReason } from '../test/istio/lab.ts';
import { testControlPlane } from './lib/control-plane.ts';

process.exitCode = await testControlPlane('test/istio', skipReason());
