/** One mistake of the user's. `text` says what is allowed and never quotes a secret. */
export interface Mistake {
  /** Absolute path. */
  file: string;
  /** The key as it stands in the file, for example `listeners[0].address`; empty for the file as a whole. */
  key: string;
  text: string;
}

/** All mistakes of FILE and of everything it names, so that they can be put right in one go. */
export class ConfigMistakes extends Error {
  readonly mistakes: Mistake[];

  constructor(mistakes: Mistake[]) {
    super(mistakes.map(mistakeLine).join('\n'));
    this.name = 'ConfigMistakes';
    this.mistakes = mistakes;
  }
}

export function mistakeLine({ file, key, text }: Mistake): string {
  return key ? `${file}: ${key}: ${text}` : `${file}: ${text}`;
}
