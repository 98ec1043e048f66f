import { resolve } from 'node:path';
import { loadConfig } from '../sidecar-auth/config/config.ts';
import { meshManifests, yamlOf } from '../sidecar-auth/kubernetes/istio/manifests.ts';
import { injectionValues } from '../sidecar-auth/kubernetes/istio/template.ts';

export interface IstioWords {
  config?: string | undefined;
  name?: string | undefined;
  namespace?: string | undefined;
  selector?: string | undefined;
  egress?: boolean | undefined;
  allow?: string | undefined;
  image?: string | undefined;
}

/** Words of the command line that contradict each other, or of which one is missing. */
export class WrongWords extends Error {}

/**
 * `postern istio`: YAML for kubectl, or with `--image` the values for istiod's chart.
 * @throws WrongWords, ConfigMistakes
 */
export function istio({ config, image, ...words }: IstioWords): string {
  if (image !== undefined) return injectionValues(image);
  if (config === undefined) throw new WrongWords('postern istio needs --config FILE, or --image IMAGE');
  const { name = 'postern', namespace = 'default' } = words;
  for (const label of [name, namespace]) {
    if (!LABEL.test(label)) throw new WrongWords(`${label} can't be a name in Kubernetes: use a-z, 0-9 and -`);
  }
  return yamlOf(meshManifests({ config: loadConfig(resolve(config)), name, namespace, to: where(words, namespace) }));
}

/** RFC 1123; shorter than 63 octets, for suffixes come to it. */
const LABEL = /^[a-z]([a-z0-9-]{0,48}[a-z0-9])?$/;

function where({ egress, selector, allow }: IstioWords, namespace: string) {
  if ((egress === true) === (selector !== undefined))
    throw new WrongWords('postern istio needs either --selector KEY=VALUE[,…] or --egress');
  if (selector !== undefined) return { labels: labels(selector) };
  return { egress: { allowedNamespaces: allow?.split(',') ?? [namespace] } };
}

function labels(selector: string): Record<string, string> {
  return Object.fromEntries(
    selector.split(',').map((pair) => {
      const [, key, value] = /^([^=]+)=([^=]*)$/.exec(pair) ?? [];
      if (key === undefined || value === undefined) throw new WrongWords(`${pair} is no label: use KEY=VALUE`);
      return [key, value];
    }),
  );
}
