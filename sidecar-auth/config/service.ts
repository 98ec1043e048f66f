import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Section } from './section.ts';

/** One instance of the Destination service, by the name that listeners use. */
export interface ServiceInstance {
  name: string;
  /** A path, absolute, or the name of a binding (SERVICE_BINDING_ROOT, VCAP_SERVICES). */
  binding: string;
}

/** Where grants are kept: refresh tokens that followed others, and those of `postern login`. */
export type GrantPlace =
  /** `chosen`: FILE names it, so that it must be usable from the start on. */
  { kind: 'directory'; path: string; chosen?: boolean } | { kind: 'secret'; namespace: string; name: string };

/**
 * Which destination of the Destination service a listener means, and what asking for tokens takes: that holds for destinations in
 * files, too (see serviceOnly).
 */
export interface ServiceReference {
  instance?: string;
  /** The subscriber's subdomain. */
  tenant?: string;
  level?: (typeof LEVELS)[number];
  fragment?: { name: string; optional: boolean };
  chain?: { name: string; variables: Record<string, string> };
  /** X-token-service-tenant, for tokenServiceURLType Common. */
  tokenServiceTenant?: string;
  /** X-redirect-uri and X-code-verifier, for authorization codes. */
  redirectUri?: string;
  codeVerifier?: string;
}

const SERVICE_ONLY = ['instance', 'tenant', 'level', 'fragment', 'chain'] as const;

/** The keys of a reference that say what only the Destination service can know. */
export function serviceOnly(reference: ServiceReference | undefined): string[] {
  return SERVICE_ONLY.filter((key) => reference?.[key] !== undefined);
}

const LEVELS = ['subaccount', 'instance', 'provider_subaccount', 'provider_instance'] as const;

/** `destinations.services` of FILE: the first is the one that listeners mean when they name none. */
export function readServices(sections: Section[]): ServiceInstance[] {
  const names = new Set<string>();
  return sections.flatMap((section) => {
    const name = section.required('name', 'a name for listeners to use');
    const binding = section.required('binding', 'the path or the name of a service binding');
    section.finish();
    if (name === undefined || binding === undefined) return [];
    if (names.has(name)) section.mistake('name', `"${name}" stands twice`);
    names.add(name);
    return [{ name, binding: binding.includes('/') ? section.absolute(binding) : binding }];
  });
}

/** `grants` of FILE. */
export function readGrants(section: Section | undefined): GrantPlace {
  const path = section?.path('directory');
  const secret = section?.section('secret');
  const namespace = secret?.required('namespace', 'the namespace of a Kubernetes Secret');
  const name = secret?.required('name', 'the name of a Kubernetes Secret');
  secret?.finish();
  section?.finish();
  if (path !== undefined && secret) section?.mistake('secret', 'must not stand beside directory');
  if (namespace !== undefined && name !== undefined) return { kind: 'secret', namespace, name };
  return path === undefined ? { kind: 'directory', path: defaultGrants() } : { kind: 'directory', path, chosen: true };
}

/** XDG Base Directory Specification: state that outlives restarts and is nobody else's. */
function defaultGrants(): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'postern', 'grants');
}

/** The keys of a listener that are for the Destination service and for token services; `undefined` where there are none. */
export function readReference(section: Section): ServiceReference | undefined {
  const instance = section.text('instance');
  const tenant = readTenant(section);
  const level = section.choice('level', LEVELS);
  const fragment = readFragment(section.section('fragment'));
  const chain = readChain(section.section('chain'));
  const tokenServiceTenant = section.text('tokenServiceTenant');
  const redirectUri = section.text('redirectUri');
  const codeVerifier = section.text('codeVerifier');
  const reference = {
    ...(instance !== undefined && { instance }),
    ...(tenant !== undefined && { tenant }),
    ...(level && { level }),
    ...(fragment && { fragment }),
    ...(chain && { chain }),
    ...(tokenServiceTenant !== undefined && { tokenServiceTenant }),
    ...(redirectUri !== undefined && { redirectUri }),
    ...(codeVerifier !== undefined && { codeVerifier }),
  };
  return Object.keys(reference).length > 0 ? reference : undefined;
}

/** It becomes the first label of a host name. */
function readTenant(section: Section): string | undefined {
  const tenant = section.text('tenant');
  if (tenant === undefined || /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/i.test(tenant)) return tenant;
  return section.mistake('tenant', "must be a subscriber's subdomain: letters, digits and hyphens");
}

function readFragment(section: Section | undefined): ServiceReference['fragment'] {
  const name = section?.required('name', 'the name of a fragment');
  const optional = section?.flag('optional') ?? false;
  section?.finish();
  return name === undefined ? undefined : { name, optional };
}

function readChain(section: Section | undefined): ServiceReference['chain'] {
  const name = section?.required('name', 'the name of a destination chain');
  const values = section?.section('variables');
  const variables: Record<string, string> = {};
  for (const key of values?.keys ?? []) {
    // They become parts of header names.
    if (!/^[A-Za-z0-9_.-]{1,64}$/.test(key))
      values?.mistake(key, 'must have 1 to 64 letters, digits, dots, hyphens or underscores');
    const value = values?.text(key);
    if (value !== undefined) variables[key] = value;
  }
  section?.finish();
  return name === undefined ? undefined : { name, variables };
}
