/**
 * An address as the log may show it: who we are (`user:password@`) and the query, where tokens stand, are `***`. Takes
 * what is no address too, since that is what an error tells of.
 */
export function withoutSecrets(address: string): string {
  return address.replace(/^([^/@]*\/\/)?.*@/s, '$1***@').replace(/\?.*$/s, '?***');
}
