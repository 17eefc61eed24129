/**
 * An address for `fetch`, which refuses one that names user and password and quotes them in its error, and what says
 * them in the header `authorization` instead: empty where none are named. Throws when it is no URL.
 */
export function loginOf(url: string): { readonly address: URL; readonly authorization: string } {
  const address = new URL(url);
  const { username, password } = address;
  address.username = address.password = '';
  return {
    address,
    authorization: username + password === '' ? '' : basic(decodeURIComponent(username), decodeURIComponent(password)),
  };
}

/** What says user and password in the header `authorization`. */
export const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;
