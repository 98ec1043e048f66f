/**
 * A text of someone else's without what it may repeat of a request: the secrets as they are, percent- or form-encoded, JSON-escaped, and
 * whatever is base64 with one of them inside (HTTP Basic). Each becomes `***`.
 * @param secrets empty ones are left out
 */
export function withoutSecrets(text: string, secrets: string[]): string {
  const forms = [...new Set(secrets.filter((secret) => secret !== '').flatMap(formsOf))];
  // The longest first: a secret may be the beginning of another.
  forms.sort((a, b) => b.length - a.length);
  // Base64 before the rest: a short secret may happen to stand in it, and what is left of it would still be readable.
  const plain = text.replace(BASE64, (run) => (hides(run, forms) ? '***' : run));
  return forms.reduce((left, form) => left.replaceAll(form, '***'), plain);
}

/** RFC 3986, the form encoding of the WHATWG, and JSON: encoders differ in case, in how a space is written, and in what JSON escapes. */
function formsOf(secret: string): string[] {
  const form = new URLSearchParams([['', secret]]).toString().slice(1);
  const percent = [encodeURIComponent(secret.toWellFormed()), form, form.replaceAll('+', '%20')];
  const json = JSON.stringify(secret).slice(1, -1);
  const ascii = json.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const escaped = [json, ascii].flatMap((one) => [one, one.replaceAll('/', '\\/')]);
  return [secret, ...percent, ...percent.map(lowerCase), ...escaped];
}

function lowerCase(percent: string): string {
  return percent.replace(/%../g, (octet) => octet.toLowerCase());
}

/** Characters of base64 and base64url, and how the two that are no letters stand in a form and in JSON. */
const BASE64 = /(?:[A-Za-z0-9+/_-]|%2[Bb]|%2[Ff]|\\\/){4,}(?:=|%3[Dd])*/g;

/** What stands before it (`Basic+`) shifts the groups of four: one of the four shifts is the right one. */
function hides(run: string, forms: string[]): boolean {
  const letters = run.replace(/%2b/gi, '+').replace(/%2f/gi, '/').replaceAll('\\/', '/');
  return [0, 1, 2, 3].some((shift) => {
    const decoded = Buffer.from(letters.slice(shift), 'base64').toString('utf8');
    return forms.some((form) => decoded.includes(form));
  });
}
