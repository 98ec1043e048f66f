import { isMap, isScalar, type Pair, parseDocument, type YAMLMap } from 'yaml';

const INTRODUCTION = `# The chart of Postern

Applications in the cluster speak plain SMTP, IMAP or POP3 to a Service and never log in: [docs/kubernetes.md](../../../docs/kubernetes.md).

    helm install postern envoy/helm/postern --namespace postern --create-namespace
    helm test postern --namespace postern

The second line says whether the cluster's network heeds NetworkPolicies. The values, of which a mistyped one is refused; names are those of SAP's Transparent Proxy
where they mean the same ([docs/from-sap.md](../../../docs/from-sap.md)):

| value | default | meaning |
|---|---|---|
`;

interface Row {
  key: string;
  value: unknown;
  comment: string;
}

/**
 * The chart's README. A value is documented by the comment above it; what stands below a documented value is part of it.
 * @throws Error that names a value without a comment
 */
export function chartReadme(values: string): string {
  const { contents } = parseDocument(values);
  if (!isMap(contents)) throw new Error('values.yaml is no mapping');
  const rows = rowsOf(contents as YAMLMap, '');
  return `${INTRODUCTION}${rows.map(line).join('')}`;
}

function rowsOf(map: YAMLMap, prefix: string): Row[] {
  return map.items.flatMap((pair, index) => {
    const key = `${prefix}${isScalar(pair.key) ? pair.key.value : pair.key}`;
    const comment = commentOf(pair, map, index);
    const { value } = pair;
    if (comment) return [{ key, value: (value as { toJSON(): unknown }).toJSON(), comment }];
    if (isMap(value) && value.items.length > 0) return rowsOf(value as YAMLMap, `${key}.`);
    throw new Error(`${key} has no comment`);
  });
}

/** The parser gives the comment above a mapping's first key to the mapping. */
function commentOf({ key }: Pair, map: YAMLMap, index: number): string {
  const own = isScalar(key) ? key.commentBefore : undefined;
  const text = own ?? (index === 0 ? map.commentBefore : undefined) ?? '';
  // Paragraphs before the last are about the file.
  const paragraph = text.split(/\n\s*\n/).at(-1) ?? '';
  return paragraph
    .split('\n')
    .map((words) => words.trim())
    .filter(Boolean)
    .join(' ');
}

function line({ key, value, comment }: Row): string {
  const shown = value === '' ? '' : `\`${JSON.stringify(value)}\``;
  return `| \`${key}\` | ${shown} | ${comment.replaceAll('|', '\\|')} |\n`;
}
