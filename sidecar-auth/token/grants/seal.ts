import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';

/**
 * Encrypts with a key that only who presents the same secret again can derive: HKDF with SHA-256 (RFC 5869), then AES-256-GCM. The name is
 * authenticated as well, so that no entry can be put in another's place.
 */
export function seal(text: string, presented: string, name: string): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', keyOf(presented, name), nonce);
  cipher.setAAD(Buffer.from(name));
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, sealed, cipher.getAuthTag()]).toString('base64');
}

/** @throws Error where it was sealed for another secret or name, or was changed */
export function unseal(sealed: string, presented: string, name: string): string {
  const bytes = Buffer.from(sealed, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', keyOf(presented, name), bytes.subarray(0, 12), {
    authTagLength: 16,
  });
  decipher.setAAD(Buffer.from(name));
  decipher.setAuthTag(bytes.subarray(-16));
  return Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString('utf8');
}

function keyOf(presented: string, name: string): Buffer {
  return Buffer.from(hkdfSync('sha256', presented, name, 'postern grant 1', 32));
}
