import type { Line } from '../contract/lines.ts';
import type { Answers } from '../contract/server.ts';
import type { Route, RouteTable } from '../route/table.ts';
import { exchanges, questions, rejections } from './counted.ts';
import { labelsOf } from './labels.ts';
import type { Counter } from './meters.ts';

/** The same answers, counted by the listener that they are for. */
export function countedAnswers(answers: Answers, table: RouteTable): Answers {
  return {
    ...answers,
    session: (listenerId) => counted(questions, table.ofListener(listenerId), answers.session(listenerId)),
    exchange: (request) => counted(exchanges, table.ofId(request.routeId), answers.exchange(request)),
    rejected: (request) => counted(rejections, table.ofId(request.routeId), answers.rejected(request)),
  };
}

async function counted<T extends Line[] | undefined>(
  counter: Counter,
  route: Route | undefined,
  work: Promise<T>,
): Promise<T> {
  const answer = await work;
  counter.add({ ...(route && labelsOf(route)), outcome: outcomeOf(answer) });
  return answer;
}

function outcomeOf(answer: Line[] | undefined): string {
  if (!answer) return 'superseded';
  if (answer.length === 0) return 'nothing_newer';
  return answer.find(([key]) => key === 'failure')?.[1] ?? 'ok';
}
