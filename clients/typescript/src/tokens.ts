/** What a session is proved and renewed with. Keep them secret. */
export interface Tokens {
  accessToken: string;
  refreshToken?: string;
}

/**
 * Where the tokens are. The one in memory ends with the page. A store that several pages share (localStorage) is read
 * again before a renewal, under a lock where the browser has them: a refresh token that is used twice ends its session.
 */
export interface TokenStore {
  get(): Tokens | null;
  set(tokens: Tokens | null): void;
}

/** Tokens for as long as the page lives. */
export function memoryStore(tokens: Tokens | null = null): TokenStore {
  let now = tokens;
  return {
    get: () => now,
    set: (next) => {
      now = next;
    },
  };
}

interface Locks {
  request<T>(name: string, work: () => Promise<T>): Promise<T>;
}

/** Do the work alone, also among the pages of this origin. */
export function alone<T>(work: () => Promise<T>): Promise<T> {
  const locks = (globalThis as { navigator?: { locks?: Locks } }).navigator?.locks;
  return locks === undefined ? work() : locks.request("bitnexus-tokens", work);
}
