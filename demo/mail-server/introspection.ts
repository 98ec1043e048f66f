/**
 * What `tokens` of the mail server needs: asks the provider about each access token (RFC 7662), every time.
 * @param url with id and secret of this resource server in it
 * @param scope that a token must have
 */
export function introspection(url: string, scope: string): (token: string) => Promise<string | undefined> {
  const { origin, pathname, username, password } = new URL(url);
  const authorization = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  return async (token) => {
    const body = new URLSearchParams({ token });
    const response = await fetch(origin + pathname, { method: 'POST', headers: { authorization }, body });
    const answer = (await response.json()) as { active?: boolean; scope?: string; username?: string };
    const isGood = answer.active === true && answer.scope?.split(' ').includes(scope);
    return isGood ? answer.username : undefined;
  };
}
