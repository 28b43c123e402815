import { hasOwnIds, newKey, takesKey } from "./identity.js";
import { Pages } from "./pages.js";
import { ApiError, NoAnswerError, problemOf } from "./problem.js";
import { alone, memoryStore, type Tokens, type TokenStore } from "./tokens.js";

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 5_000;
const UNAUTHORIZED = 401;
/** Refused before any effect, whatever it was. */
const TOO_MANY = 429;
const TRANSIENT: ReadonlySet<number> = new Set([408, TOO_MANY, 502, 503, 504]);

export interface ApiClientOptions {
  /** The API's address, as in `https://money.example.com/api/v1`; "/api/v1" for the page's own origin. */
  baseUrl: string;
  /** Where the tokens are; in memory if nothing is given. */
  store?: TokenStore;
  /** The longest that one attempt may take: 15 s. */
  timeoutMs?: number;
  /** No attempt begins later than so long after a request's first: 30 s. */
  deadlineMs?: number;
  /** Told when the session has ended and the user must log in again. */
  onSessionEnd?: () => void;
  /** In the place of the global `fetch`. */
  fetch?: typeof fetch;
}

export interface RequestOptions {
  query?: Readonly<Record<string, string | number | boolean | undefined>>;
  headers?: Readonly<Record<string, string>>;
  signal?: AbortSignal;
  timeoutMs?: number;
  /** A key of your own: kept and used again, it makes the request safe beyond this page's life. */
  idempotencyKey?: string;
  /** The `etag` of what was read, or "*": changes of anything else are refused with 412. */
  ifMatch?: string;
  /** false: without the access token. */
  auth?: boolean;
  /** May be sent again after a lost answer, though it has no key. */
  repeatable?: boolean;
}

/** An answer: `data` is what stands under "data", or the whole body where nothing does. */
export interface Answer<T> {
  data: T;
  status: number;
  headers: Headers;
  etag: string | null;
  /** The same had been done before, by the same key or id. */
  replayed: boolean;
  body: unknown;
}

/** Requests to the API: with the token, which is renewed when it has expired, and repeated where that does no harm. */
export class ApiClient {
  private readonly baseUrl: string;
  private readonly store: TokenStore;
  private readonly timeoutMs: number;
  private readonly deadlineMs: number;
  private readonly onSessionEnd: (() => void) | undefined;
  private readonly fetch: typeof fetch;
  private renewal: Promise<void> | null = null;

  constructor(options: ApiClientOptions) {
    this.baseUrl = options.baseUrl.replace(/\/+$/, "");
    this.store = options.store ?? memoryStore();
    this.timeoutMs = options.timeoutMs ?? 15_000;
    this.deadlineMs = options.deadlineMs ?? 30_000;
    this.onSessionEnd = options.onSessionEnd;
    this.fetch = options.fetch ?? ((input, init) => globalThis.fetch(input, init));
  }

  get tokens(): Tokens | null {
    return this.store.get();
  }

  get<T>(path: string, options: RequestOptions = {}): Promise<Answer<T>> {
    return this.request<T>("GET", path, undefined, options);
  }

  post<T>(path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer<T>> {
    return this.request<T>("POST", path, body, options);
  }

  put<T>(path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer<T>> {
    return this.request<T>("PUT", path, body, options);
  }

  patch<T>(path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer<T>> {
    return this.request<T>("PATCH", path, body, options);
  }

  delete<T>(path: string, options: RequestOptions = {}): Promise<Answer<T>> {
    return this.request<T>("DELETE", path, undefined, options);
  }

  /** A list that comes in pages: `for await (const item of client.list("/transactions"))`. */
  list<T>(path: string, options: RequestOptions = {}): Pages<T> {
    return new Pages<T>(this, path, options);
  }

  /** Begin a session. */
  async login(email: string, password: string, options: RequestOptions = {}): Promise<Session> {
    const asked = { ...options, auth: false, repeatable: true };
    const { data } = await this.post<Session>("/auth/login", { user: { email, password } }, asked);
    this.take(data);
    return data;
  }

  /** End the session, everywhere. */
  async logout(options: RequestOptions = {}): Promise<void> {
    const tokens = this.store.get();
    if (tokens === null) return;
    const shown = tokens.refreshToken;
    const body = shown === undefined ? undefined : { session: { refresh_token: shown } };
    await this.post("/auth/logout", body, { ...options, auth: body === undefined, repeatable: true });
    this.store.set(null);
  }

  async request<T>(method: string, path: string, body: unknown, options: RequestOptions): Promise<Answer<T>> {
    const withToken = options.auth !== false;
    const used = withToken ? this.store.get() : null;
    const sent = this.prepare(method, path, body, options);
    try {
      return await this.repeated<T>(sent, used, options);
    } catch (error) {
      const expired = error instanceof ApiError && error.status === UNAUTHORIZED;
      if (!expired || used === null) throw error;
      if (used.refreshToken === undefined) {
        this.onSessionEnd?.();
        throw error;
      }
    }
    await this.renew(used);
    return this.repeated<T>(sent, this.store.get(), options);
  }

  private prepare(method: string, path: string, body: unknown, options: RequestOptions): Prepared {
    const headers: Record<string, string> = { Accept: "application/json", ...options.headers };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (options.ifMatch !== undefined) headers["If-Match"] = options.ifMatch;
    const named = hasOwnIds(body);
    const key = options.idempotencyKey ?? (takesKey(method, path) && !named ? newKey() : undefined);
    if (key !== undefined) headers["Idempotency-Key"] = key;
    // A version that was read is the old one once the change is made: a second attempt would be refused.
    const conditional = options.ifMatch !== undefined && options.ifMatch !== "*";
    const known = method === "GET" || ((key !== undefined || (named && takesKey(method, path))) && !conditional);
    const sent: Prepared = { method, url: this.address(path, options.query), headers, safe: options.repeatable ?? known };
    if (body !== undefined) sent.body = JSON.stringify(body);
    return sent;
  }

  private address(path: string, query: RequestOptions["query"]): string {
    const given = Object.entries(query ?? {}).filter(([, value]) => value !== undefined);
    const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString();
    return this.baseUrl + path + (text === "" ? "" : (path.includes("?") ? "&" : "?") + text);
  }

  private async repeated<T>(sent: Prepared, tokens: Tokens | null, options: RequestOptions): Promise<Answer<T>> {
    const until = Date.now() + this.deadlineMs;
    for (let attempt = 0; ; attempt += 1) {
      try {
        return await this.attempt<T>(sent, tokens, options);
      } catch (error) {
        const pauseMs = pauseAfter(error, sent.safe, attempt);
        if (pauseMs === null || Date.now() + pauseMs >= until) throw error;
        await sleep(pauseMs, options.signal);
      }
    }
  }

  private async attempt<T>(sent: Prepared, tokens: Tokens | null, options: RequestOptions): Promise<Answer<T>> {
    const headers = tokens === null ? sent.headers : { ...sent.headers, Authorization: `Bearer ${tokens.accessToken}` };
    const timer = new AbortController();
    const give = () => timer.abort(options.signal?.reason);
    options.signal?.throwIfAborted();
    options.signal?.addEventListener("abort", give, { once: true });
    const timeout = setTimeout(() => timer.abort(), options.timeoutMs ?? this.timeoutMs);
    const init: RequestInit = { method: sent.method, headers, redirect: "error", credentials: "omit", signal: timer.signal };
    if (sent.body !== undefined) init.body = sent.body;
    try {
      const response = await this.fetch(sent.url, init);
      const text = await response.text();
      return answerOf<T>(response, text);
    } catch (error) {
      if (error instanceof ApiError) throw error;
      options.signal?.throwIfAborted();
      throw new NoAnswerError(timer.signal.aborted ? "No answer came in time" : "The connection broke", { cause: error });
    } finally {
      clearTimeout(timeout);
      options.signal?.removeEventListener("abort", give);
    }
  }

  /** Exchange the refresh token: once for all who wait for it, and not if another page has done so. */
  private renew(used: Tokens): Promise<void> {
    this.renewal ??= alone(() => this.exchange(used)).finally(() => {
      this.renewal = null;
    });
    return this.renewal;
  }

  private async exchange(used: Tokens): Promise<void> {
    const now = this.store.get();
    if (now === null || now.accessToken !== used.accessToken) return;
    const body = { session: { refresh_token: used.refreshToken } };
    try {
      // Sent once: a refresh token that is seen twice ends the session.
      const sent = this.prepare("POST", "/auth/refresh", body, {});
      this.take((await this.attempt<Session>(sent, null, {})).data);
    } catch (error) {
      if (error instanceof ApiError && error.status === UNAUTHORIZED) {
        this.store.set(null);
        this.onSessionEnd?.();
      }
      throw error;
    }
  }

  private take(session: Session): void {
    this.store.set({ accessToken: session.access_token, refreshToken: session.refresh_token });
  }
}

/** What a login or a renewal gives; lives are in seconds. */
export interface Session {
  access_token: string;
  refresh_token: string;
  token_type: string;
  expires_in: number;
  refresh_expires_in: number;
  user: { id: string; email: string; name: string; role: string };
}

interface Prepared {
  method: string;
  url: string;
  headers: Record<string, string>;
  body?: string;
  /** May be sent any number of times. */
  safe: boolean;
}

function answerOf<T>(response: Response, text: string): Answer<T> {
  const body = parsed(response, text);
  if (!response.ok) {
    const asked = Number(response.headers.get("Retry-After") ?? "");
    throw new ApiError(problemOf(response.status, body), Number.isFinite(asked) ? asked * 1000 : 0);
  }
  const wrapped = typeof body === "object" && body !== null && "data" in body;
  return {
    data: (wrapped ? body.data : body) as T,
    status: response.status,
    headers: response.headers,
    etag: response.headers.get("ETag"),
    replayed: response.headers.get("Idempotent-Replayed") === "true",
    body,
  };
}

function parsed(response: Response, text: string): unknown {
  if (text === "") return undefined;
  if (!/[/+]json\b/.test(response.headers.get("Content-Type") ?? "")) return text;
  try {
    return JSON.parse(text);
  } catch {
    return text; // told by its type to be JSON, and none: what it says may help
  }
}

/** How long to wait before another attempt; null: there must be none. */
function pauseAfter(error: unknown, safe: boolean, attempt: number): number | null {
  const backoff = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(attempt, 16)) * (0.5 + Math.random() / 2);
  if (error instanceof NoAnswerError) return safe ? backoff : null;
  if (!(error instanceof ApiError) || !TRANSIENT.has(error.status)) return null;
  return safe || error.status === TOO_MANY ? Math.max(error.retryAfterMs, backoff) : null;
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}
