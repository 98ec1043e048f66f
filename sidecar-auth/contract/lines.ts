/** One value of a body (docs/contract.md, "flat lines"): key and decoded text. */
export type Line = [key: string, value: string];

const LINE = /^([a-z0-9.-]+): ([A-Za-z0-9+/]*={0,2})$/;

export function encodeLines(lines: Line[]): string {
  return lines.map(([key, value]) => `${key}: ${Buffer.from(value).toString('base64')}\n`).join('');
}

/** The values by key, in order; `undefined` if one line does not have the form. */
export function decodeLines(body: string): Map<string, string[]> | undefined {
  const values = new Map<string, string[]>();
  if (body === '') return values;
  if (!body.endsWith('\n')) return undefined;
  for (const line of body.slice(0, -1).split('\n')) {
    const [, key, base64] = LINE.exec(line) ?? [];
    const value = base64 === undefined ? undefined : decodeBase64(base64);
    if (key === undefined || value === undefined) return undefined;
    values.set(key, [...(values.get(key) ?? []), value]);
  }
  return values;
}

/** Node reads base64 with anything in it; only what is written back unchanged is RFC 4648 section 4. */
function decodeBase64(text: string): string | undefined {
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes.toString('utf8') : undefined;
}
