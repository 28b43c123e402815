/** A problem as the service tells it (RFC 9457). `code` is the name for programs; `errors` are messages by field. */
export interface Problem {
  status: number;
  code: string;
  title: string;
  detail: string;
  instance: string;
  request_id: string;
  errors?: Record<string, string[]>;
  pointers?: { pointer: string; detail: string }[];
  /** Of an atomic batch that was refused: the place of the transfer that was the reason. */
  index?: number;
  results?: Record<string, unknown>[];
}

/** The service answered with a problem. */
export class ApiError extends Error {
  override readonly name = "ApiError";

  constructor(
    readonly problem: Problem,
    /** What `Retry-After` asked for, in milliseconds; 0 if it asked for nothing. */
    readonly retryAfterMs: number = 0,
  ) {
    super(`${problem.status} ${problem.code}: ${problem.detail || problem.title}`);
  }

  get status(): number {
    return this.problem.status;
  }

  get code(): string {
    return this.problem.code;
  }
}

/** No answer came in time, or the connection broke: what was asked for may have been done, unless it only reads. */
export class NoAnswerError extends Error {
  override readonly name = "NoAnswerError";
}

/** The problem in an answer; of one that is not the service's (a proxy's), what is known of it. */
export function problemOf(status: number, body: unknown): Problem {
  const said = typeof body === "object" && body !== null ? (body as Partial<Problem>) : {};
  return {
    title: "",
    detail: "",
    instance: "",
    request_id: "",
    ...said,
    status,
    code: typeof said.code === "string" ? said.code : `http_${status}`,
  };
}
