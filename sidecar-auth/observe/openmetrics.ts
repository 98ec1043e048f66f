/** Label values by name. An empty one is the same as none, and is not written. */
export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** Behind the family's name, where that is not what the type alone says: `_bucket`, `_sum`, `_count`. */
  suffix?: string;
  labels: Labels;
  value: number;
}

/** Samples of one name. */
export interface Family {
  /** A counter's without `_total`. A unit is its last word: `_seconds`, `_bytes`. */
  name: string;
  type: 'counter' | 'gauge' | 'histogram';
  help: string;
  samples: Sample[];
}

export const CONTENT_TYPE = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

/** OpenMetrics 1.0 (github.com/OpenObservability/OpenMetrics, specification/OpenMetrics.md). */
export function openMetrics(families: Family[]): string {
  return `${families.map(familyText).join('')}# EOF\n`;
}

function familyText({ name, type, help, samples }: Family): string {
  if (samples.length === 0) return '';
  const unit = /_(seconds|bytes)$/.exec(name)?.[1];
  const lines = [
    `# TYPE ${name} ${type}`,
    ...(unit === undefined ? [] : [`# UNIT ${name} ${unit}`]),
    `# HELP ${name} ${escaped(help)}`,
    ...samples.map((sample) => sampleText(name, type, sample)),
  ];
  return `${lines.join('\n')}\n`;
}

function sampleText(name: string, type: Family['type'], { suffix, labels, value }: Sample): string {
  const pairs = Object.entries(labels)
    .filter(([, text]) => text !== '')
    .map(([label, text]) => `${label}="${escaped(text)}"`);
  const shown = pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
  return `${name}${suffix ?? (type === 'counter' ? '_total' : '')}${shown} ${value}`;
}

const ESCAPES: Record<string, string> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

function escaped(text: string): string {
  return text.replace(/[\\"\n]/g, (character) => ESCAPES[character] ?? '');
}
