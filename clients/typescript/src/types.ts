/** What the service answers. Amounts are integers of the asset's minor unit, times are RFC 3339 texts in UTC. */

export interface User {
  id: string;
  email: string;
  name: string;
  role: "user" | "service" | "admin";
  inserted_at: string;
  updated_at: string;
  /** Of a new user: the first account; null if it could not be opened yet. */
  account_id?: string | null;
}

export interface Account {
  id: string;
  owner_id: string | null;
  kind: string;
  asset: string;
  code: number;
  balance: number;
  opened_seq: number;
  opened_at: string;
  debits_posted?: number;
  credits_posted?: number;
  debits_pending?: number;
  credits_pending?: number;
  status?: "open" | "frozen" | "closed";
  flags?: number;
  credit_limit?: number;
  /** What can be spent; null for no bound. */
  available?: number | null;
}

export interface Transaction {
  id: string;
  debit_account_id: string;
  credit_account_id: string;
  amount: number;
  asset: string;
  code: number;
  kind: string;
  description: string;
  metadata: Record<string, unknown>;
  status: "posted" | "pending" | "voided" | "expired" | "reversed";
  seq: number;
  block: number;
  inserted_at: string;
  pending_id?: string | null;
  reverses_id?: string | null;
  expires_at?: string | null;
  resolved_by?: string;
  annotated_seq?: number;
  annotated_at?: string;
}

/** A transfer in an account's history, with the balance after it. */
export interface Entry extends Transaction {
  direction: "debit" | "credit";
  balance: number;
}

/** A transfer that is asked for; `id` (a UUID) names it, else a key does. */
export interface NewTransaction {
  debit_account_id?: string;
  credit_account_id?: string;
  amount?: number;
  asset?: string;
  code?: number;
  description?: string;
  metadata?: Record<string, unknown>;
  id?: string;
  kind?: "post" | "pending" | "post_pending" | "void_pending" | "reversal";
  pending_id?: string;
  reverses_id?: string;
  timeout_s?: number;
}

export interface BatchResult {
  index: number;
  id: string;
  status: string;
  seq?: number;
  block?: number;
  code?: string;
  detail?: string;
  replayed?: boolean;
}

export interface Batch {
  atomic: boolean;
  accepted: number;
  refused: number;
  replayed: number;
  results: BatchResult[];
}

export interface Product {
  id: string;
  sku: string;
  name: string;
  description: string;
  price: number;
  asset: string;
  stock: number;
  units_asset: string;
  stock_account_id: string;
  shop_account_id: string;
  inserted_at: string;
  updated_at: string;
}

export interface Purchase {
  id: string;
  product_id: string;
  sku: string;
  quantity: number;
  price: number;
  amount: number;
  asset: string;
  account_id: string;
  units_account_id: string;
  inserted_at: string;
  payment: Transaction;
  units: Transaction;
}
