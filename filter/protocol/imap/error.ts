import { Failure } from '../failure';

/** The response code of a failure (RFC 5530, and LIMIT of RFC 9051 section 7.1). `byApp`: the app's own line is at fault. */
export function codeOf(failure: Failure, byApp: bool): string {
  switch (failure) {
    case Failure.rejected:
    case Failure.app_login:
      return 'AUTHENTICATIONFAILED';
    case Failure.unknown_destination:
    case Failure.mechanism:
      return 'CONTACTADMIN';
    case Failure.protocol:
      return byApp ? 'CLIENTBUG' : 'SERVERBUG';
    case Failure.limit:
      return 'LIMIT';
    default:
      return 'UNAVAILABLE';
  }
}
