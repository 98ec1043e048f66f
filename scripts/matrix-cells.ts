/** What a result says of itself; its place in the matrix, and nothing of how it went. */
export interface Played {
  proxyType: string;
  protocol: string;
  authentication: string;
  app: string;
  variant?: string;
}

const PLAIN = ['smtp', 'pop3', 'imap'];
const TLS = PLAIN.map((protocol) => `${protocol}s`);
/** Which protocols there are on which way: with four authentications, 36 cells. */
const WAYS = { OnPremise: PLAIN, Internet: [...PLAIN, ...TLS] };
/** Which apps each authentication is played with: six rows for each four cells. */
const APPS = {
  BasicAuthentication: ['silent', 'redundant'],
  OAuth2ClientCredentials: ['silent', 'redundant'],
  OAuth2RefreshToken: ['token'],
  OAuth2AuthorizationCode: ['token'],
};
/** What `--all` adds, each with four authentications. */
const MORE = [
  { proxyType: 'Internet', protocols: PLAIN, variant: 'plain' },
  { proxyType: 'OnPremise', protocols: TLS, variant: 'tls' },
  { proxyType: 'OnPremise', protocols: PLAIN, variant: 'starttls' },
];

const product = (first: string[], second: string[]) => first.flatMap((a) => second.map((b) => `${a} ${b}`));

/** The 54 rows that must have been played: from the issue's own axes, not from the list that is played (test/matrix/rows.ts). */
const ROWS = Object.entries(WAYS).flatMap(([proxyType, protocols]) =>
  Object.entries(APPS).flatMap(([authentication, apps]) =>
    product(product([proxyType], protocols), [authentication]).flatMap((cell) => product([cell], apps)),
  ),
);

const MORE_ROWS = MORE.flatMap(({ proxyType, protocols, variant }) =>
  product(product(product([proxyType], protocols), Object.keys(APPS)), [variant]),
);

/** The rows that are not among the results; with `all`, of what `--all` adds too. A row that went wrong is not missing. */
export function missingRows(results: Played[], all = false): string[] {
  const played = new Set(results.map(nameOf));
  return [...ROWS, ...(all ? MORE_ROWS : [])].filter((row) => !played.has(row));
}

/** With a variant the app does not tell rows apart. */
function nameOf({ proxyType, protocol, authentication, app, variant }: Played): string {
  return [proxyType, protocol, authentication, variant ?? app].join(' ');
}
