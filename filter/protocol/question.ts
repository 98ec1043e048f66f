/** What a machine wants of sidecar-auth (docs/contract.md). */
export enum Question {
  none,
  /** POST /v1/exchanges: a token for what the app brings */
  exchange,
  /** POST /v1/rejections: a newer token than the one that the server refused */
  rejection,
}
