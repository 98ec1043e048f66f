import { skipReason } from '../test/cluster/programs.ts';
import { testControlPlane } from './lib/control-plane.ts';

process.exitCode = await testControlPlane('test/cluster', skipReason());
