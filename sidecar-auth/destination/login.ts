import { readSecret, readUser } from '../config/document.ts';
import type { Section } from '../config/section.ts';
import { missing, propertyKey } from './keys.ts';
import { readTokenService, type TokenService } from './token-service.ts';
import type { Transport } from './transport.ts';

export type Grant = 'client_credentials' | 'refresh_token' | 'authorization_code';

/** How Postern logs in at the mail server. */
export type Login =
  | { kind: 'none' }
  | { kind: 'basic'; user: string; password: string }
  /** `user` is there for client_credentials; for the others it is the user of an app that brings nothing. */
  | { kind: 'oauth'; user?: string; grant: Grant; token: TokenService };

const GRANTS: Record<string, Grant> = {
  OAuth2ClientCredentials: 'client_credentials',
  OAuth2RefreshToken: 'refresh_token',
  OAuth2AuthorizationCode: 'authorization_code',
};

const AUTHENTICATIONS = ['BasicAuthentication', 'NoAuthentication', ...Object.keys(GRANTS)];

/** @param files as of readTokenService */
export function readLogin(section: Section, transport: Transport, files: string[] | undefined): Login | undefined {
  const authKey = propertyKey(section, transport, 'auth');
  const auth = authKey === undefined ? undefined : section.flag(authKey);
  const kind = section.choice('Authentication', AUTHENTICATIONS);
  if (auth === false) return { kind: 'none' };
  if (kind === undefined) return missing(section, 'Authentication', AUTHENTICATIONS.join(', '));
  if (kind === 'NoAuthentication') {
    return auth ? section.mistake(authKey ?? '', 'must not be true with NoAuthentication') : { kind: 'none' };
  }
  const grant = GRANTS[kind];
  return grant ? readOAuth(section, grant, files) : readBasic(section, files);
}

function readBasic(section: Section, files: string[] | undefined): Login | undefined {
  const user = readUser(section, 'mail.user');
  if (!section.has('mail.password') && !section.has('mail.passwordFile')) {
    return section.mistake('mail.password', 'or mail.passwordFile is missing');
  }
  // Who may write a destination in the Destination service may not read this machine's files by it.
  if (!files && section.has('mail.passwordFile'))
    return section.mistake('mail.passwordFile', 'is for destination files');
  const password = readSecret(section, 'mail.password', files ?? []);
  return user === undefined || password === undefined ? undefined : { kind: 'basic', user, password };
}

function readOAuth(section: Section, grant: Grant, files: string[] | undefined): Login | undefined {
  const needsUser = grant === 'client_credentials' || section.has('refreshTokenFile');
  const user = needsUser || section.has('mail.user') ? readUser(section, 'mail.user') : undefined;
  const token = readTokenService(section, files);
  if (!token || (needsUser && user === undefined)) return undefined;
  if (grant === 'client_credentials' && token.authentication.kind === 'none') {
    return section.mistake(
      'clientSecret',
      'or clientSecretFile, clientAssertion.keyFile or tokenService.KeyStoreLocation is missing',
    );
  }
  if (grant !== 'refresh_token' && token.refreshToken !== undefined) {
    return section.mistake('refreshTokenFile', 'is for OAuth2RefreshToken');
  }
  return { kind: 'oauth', ...(user !== undefined && { user }), grant, token };
}
