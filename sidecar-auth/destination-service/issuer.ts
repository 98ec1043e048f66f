import { createHash } from 'node:crypto';
import type { Destination } from '../destination/destination.ts';
import type { Login } from '../destination/login.ts';
import { Failure } from '../failure.ts';
import { tokenRequest } from '../observe/counted.ts';
import type { TokenCache } from '../token/cache.ts';
import { tokenEndpoint } from '../token/endpoint.ts';
import { follow, tokenClient } from '../token/file-issuer.ts';
import type { GrantOwner, Grants, Kept } from '../token/grants/grants.ts';
import type { AccessToken, TokenIssuer } from '../token/issuer.ts';
import type { IssuedTokens } from '../token/request.ts';
import { tokensOf } from './answer.ts';
import type { ServiceClient } from './client.ts';
import { type DestinationRef, keyOf } from './reference.ts';
import type { Want } from './request.ts';

export interface IssuerDeps {
  client: ServiceClient;
  /** Both live as long as the process. */
  cache: TokenCache;
  grants: Grants;
  /** For token services that are asked directly. */
  fetch: typeof fetch;
}

type OAuth = Login & { kind: 'oauth' };

/**
 * The issuer of a destination: the Destination service gets its tokens. Undefined where it needs none.
 * @param configuration the properties that `destination` was made of
 */
export function serviceIssuer(
  ref: DestinationRef,
  destination: Destination,
  configuration: Record<string, unknown>,
  deps: IssuerDeps,
): TokenIssuer | undefined {
  const { login } = destination;
  if (login.kind !== 'oauth') return undefined;
  const flows = new Flows(ref, login, configuration, deps);
  const refused = (value: string) => flows.refused(value);
  if (login.grant === 'client_credentials') return { silent: () => flows.clientCredentials(), refused };
  return { exchange: (user, presented) => flows.exchange(user, presented), refused };
}

class Flows {
  readonly #ref: DestinationRef;
  readonly #login: OAuth;
  readonly #deps: IssuerDeps;
  /** Another client, secret or tenant makes other tokens. */
  readonly #key: string;
  /** The token service is behind the Cloud Connector, where only the Destination service gets to. */
  readonly #unreachable: boolean;

  constructor(ref: DestinationRef, login: OAuth, configuration: Record<string, unknown>, deps: IssuerDeps) {
    this.#ref = ref;
    this.#login = login;
    this.#deps = deps;
    this.#key = hash(keyOf(ref) + JSON.stringify(configuration));
    this.#unreachable = (configuration['tokenServiceURL.ProxyType'] ?? configuration.ProxyType) === 'OnPremise';
  }

  refused(value: string): void {
    this.#deps.cache.refused(value);
    this.#deps.grants.refused(value);
  }

  clientCredentials(): Promise<AccessToken> {
    return this.#cached(this.#key, async () => access(await this.#service('token', [])));
  }

  exchange(user: string, presented: string): Promise<AccessToken> {
    const key = hash(JSON.stringify([this.#key, user, hash(presented)]));
    const { grants } = this.#deps;
    return this.#cached(key, async () =>
      access(await grants.presented(this.#owner(user), presented, (last) => this.#next(last, presented))),
    );
  }

  #cached(key: string, issue: () => Promise<AccessToken>): Promise<AccessToken> {
    return this.#deps.cache.get(key, () => tokenRequest('destination_service', this.#ref.name, issue));
  }

  /** What follows the last tokens of a presented refresh token or code. */
  async #next(last: Kept | undefined, presented: string): Promise<IssuedTokens> {
    if (this.#login.grant === 'refresh_token') {
      const refreshToken = last?.refreshToken ?? presented;
      return follow(last, await this.#service({ refreshToken }, [refreshToken]), presented);
    }
    if (!last) return await this.#redeem(presented);
    if (last.refreshToken !== undefined) return follow(last, await this.#refresh(last.refreshToken));
    throw new Failure('token', this.#unreachable ? UNREACHABLE : SPENT, { retry: false });
  }

  /** Without the refresh token where nobody could use it: then the access token is what must be kept. */
  async #redeem(code: string): Promise<IssuedTokens> {
    const { refreshToken, ...access } = await this.#service({ code }, [code]);
    return { ...access, ...(refreshToken !== undefined && !this.#unreachable && { refreshToken }) };
  }

  /** The service does not renew what it got for a code, so the token service is asked itself. */
  async #refresh(refreshToken: string): Promise<IssuedTokens> {
    const { token } = this.#login;
    const endpoint = tokenEndpoint(token, this.#ref.tokenServiceTenant);
    return await tokenClient(token, endpoint, { fetch: this.#deps.fetch }).refresh(refreshToken);
  }

  /** @param secrets what this request carries beside the destination's own secret: error texts must not repeat them */
  async #service(want: Want, secrets: string[]): Promise<IssuedTokens> {
    const answer = await this.#deps.client.get(this.#ref, want);
    if (!answer) throw new Failure('unknown_destination', 'the Destination service has no such destination any more');
    return tokensOf(answer, [...secrets, ...secretsOf(answer.configuration), this.#ref.codeVerifier ?? '']);
  }

  #owner(user: string): GrantOwner {
    const { name, tenant, instance, tokenServiceTenant } = this.#ref;
    const { url, clientId } = this.#login.token;
    return {
      tenant: JSON.stringify([tenant ?? null, instance ?? null]),
      destination: name,
      user,
      tokenServiceURL: tokenServiceTenant === undefined ? url : `${url} ${tokenServiceTenant}`,
      clientId,
    };
  }
}

const SPENT = 'the authorization code is used up, and no refresh token came with it: present a new one';
const UNREACHABLE =
  'the authorization code is used up, and its token service is behind the Cloud Connector: present a new one';

function secretsOf(configuration: Record<string, unknown>): string[] {
  const keys = ['clientSecret', 'tokenServicePassword', 'mail.password', 'tokenService.KeyStorePassword'];
  return keys.map((key) => configuration[key]).filter((value) => typeof value === 'string');
}

function access({ accessToken, expiresAt }: IssuedTokens): AccessToken {
  return { value: accessToken, expiresAt };
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
