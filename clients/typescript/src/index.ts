export { ApiClient } from "./api-client.js";
export type { Answer, ApiClientOptions, RequestOptions, Session } from "./api-client.js";
export { Pages } from "./pages.js";
export type { Page } from "./pages.js";
export { ApiError, NoAnswerError } from "./problem.js";
export type { Problem } from "./problem.js";
export { resources } from "./resources.js";
export { memoryStore } from "./tokens.js";
export type { Tokens, TokenStore } from "./tokens.js";
export type {
  Account,
  Batch,
  BatchResult,
  Entry,
  NewTransaction,
  Product,
  Purchase,
  Transaction,
  User,
} from "./types.js";
