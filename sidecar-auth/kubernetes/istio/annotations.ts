/** Of a pod: which Secret sidecar-auth beside its proxy gets, as files. */
export const SECRET_ANNOTATION = 'connectivity.postern.dev/secret';

/** Of a pod: `false` makes istio-proxy a container like the application's, which starts after all init containers. */
export const NATIVE_PROXY_ANNOTATION = 'sidecar.istio.io/nativeSidecar';

/** Of a pod: Istio's injection templates, in their order. */
export const TEMPLATES_ANNOTATION = 'inject.istio.io/templates';

/** The name of ours. */
export const TEMPLATE = 'postern';
