import type { Result, Vain } from './run-row.ts';

const HEAD = ['proxy type', 'protocol', 'authentication', 'app', 'at the mail server', 'token', 'way', 'its twin'];

/** docs/matrix.md: what does not differ from one run to the next. */
export function markdown(results: Result[]): string {
  const rows = [HEAD, HEAD.map(() => '---'), ...results.map(columns)].map((cells) => `| ${cells.join(' | ')} |`);
  return `${INTRODUCTION}\n${rows.join('\n')}\n`;
}

const INTRODUCTION = `# The matrix

Every kind of destination with every authentication, through a real Envoy to a real Postfix or Dovecot. \`npm run matrix\` plays it and writes this page,
\`npm run matrix -- --all\` plays more, \`--json FILE\` writes down what each witness said. Destinations come from the Destination service simulator, tokens from an OpenID
provider that the mail server asks about each of them. In each row a message goes in or is read back byte for byte.

- **app**: \`silent\` never logs in; \`redundant\` logs in as nobody, as mail libraries do; \`token\` brings its refresh token or authorization code, a fresh one
  in each row.
- **at the mail server**: SASL mechanism and TLS, as its own log has it.
- **token**: the grant by which the provider issued the access token.
- **way**: Envoy's cluster and, on-premise, the host and location id that the Connectivity Proxy was asked for.
- **its twin**: the same with one thing wrong. Nothing is delivered, and the app sees this. With \`token\` an app without a token gets nothing, either.
`;

function columns(result: Result): string[] {
  const { proxyType, protocol, authentication, app, server, provider, socks, envoy, negative } = result;
  const { fault, withoutToken } = negative;
  return [
    proxyType,
    protocol,
    authentication,
    app,
    server ? `${server.mechanism}${server.tls ? ', TLS' : ''}` : '',
    provider?.grant ?? '',
    `${envoy.cluster}${socks ? `, ${socks.host} at ${socks.location}` : ''}`,
    `${fault}: ${told(negative)}${withoutToken ? `<br>no token: ${told(withoutToken)}` : ''}`,
  ];
}

function told({ error }: Vain): string {
  const stable = error
    .replaceAll(/(?:127\.0\.0\.1|localhost):\d+/g, 'HOST:PORT')
    .replaceAll(/\b[\w-]+-twin\b|\b(?:onpremise|internet)-[\w-]+\b/g, 'NAME');
  return `\`${stable.replaceAll('|', '\\|').replaceAll('`', "'")}\``;
}
