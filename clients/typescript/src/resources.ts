import type { Answer, ApiClient, RequestOptions } from "./api-client.js";
import type { Pages } from "./pages.js";
import type { Account, Batch, Entry, NewTransaction, Product, Purchase, Transaction, User } from "./types.js";

type Asked<T> = Promise<Answer<T>>;
type UserChanges = { email?: string; name?: string; password?: string; current_password?: string };
type ProductChanges = { name?: string; description?: string; price?: number };

/** The resources by name, each a few calls of the client. */
export function resources(api: ApiClient) {
  const id = encodeURIComponent;
  return {
    users: {
      register: (user: { email: string; password: string; name?: string }, options?: RequestOptions): Asked<User> =>
        api.post("/auth/register", { user }, { ...options, auth: false }),
      me: (options?: RequestOptions): Asked<User> => api.get("/users/me", options),
      get: (userId: string, options?: RequestOptions): Asked<User> => api.get(`/users/${id(userId)}`, options),
      list: (options?: RequestOptions): Pages<User> => api.list("/users", options),
      update: (userId: string, user: UserChanges, etag: string, options?: RequestOptions): Asked<User> =>
        api.patch(`/users/${id(userId)}`, { user }, { ...options, ifMatch: etag }),
      delete: (userId: string, etag: string, options?: RequestOptions): Asked<void> =>
        api.delete(`/users/${id(userId)}`, { ...options, ifMatch: etag }),
    },
    accounts: {
      list: (options?: RequestOptions): Pages<Account> => api.list("/accounts", options),
      get: (accountId: string, options?: RequestOptions): Asked<Account> => api.get(`/accounts/${id(accountId)}`, options),
      history: (accountId: string, options?: RequestOptions): Pages<Entry> =>
        api.list(`/accounts/${id(accountId)}/history`, options),
      open: (account: { asset?: string; code?: number } = {}, options?: RequestOptions): Asked<Account> =>
        api.post("/accounts", { account }, options),
    },
    transactions: {
      list: (options?: RequestOptions): Pages<Transaction> => api.list("/transactions", options),
      get: (transactionId: string, options?: RequestOptions): Asked<Transaction> =>
        api.get(`/transactions/${id(transactionId)}`, options),
      post: (transaction: NewTransaction, options?: RequestOptions): Asked<Transaction> =>
        api.post("/transactions", { transaction }, options),
      reserve: (transaction: NewTransaction, options?: RequestOptions): Asked<Transaction> =>
        api.post("/transactions", { transaction: { ...transaction, kind: "pending" } }, options),
      postPending: (pendingId: string, amount?: number, options?: RequestOptions): Asked<Transaction> =>
        api.post("/transactions", { transaction: { kind: "post_pending", pending_id: pendingId, amount } }, options),
      void: (pendingId: string, options?: RequestOptions): Asked<Transaction> =>
        api.post("/transactions", { transaction: { kind: "void_pending", pending_id: pendingId } }, options),
      reverse: (transactionId: string, options?: RequestOptions): Asked<Transaction> =>
        api.post("/transactions", { transaction: { kind: "reversal", reverses_id: transactionId } }, options),
      annotate: (
        transactionId: string,
        transaction: { description?: string; metadata?: Record<string, unknown> },
        etag: string,
        options?: RequestOptions,
      ): Asked<Transaction> =>
        api.patch(`/transactions/${id(transactionId)}`, { transaction }, { ...options, ifMatch: etag }),
      batch: (transactions: NewTransaction[], atomic = false, options?: RequestOptions): Asked<Batch> =>
        api.post("/transactions/batch", { transactions, atomic }, options),
    },
    products: {
      list: (options?: RequestOptions): Pages<Product> => api.list("/products", options),
      get: (productId: string, options?: RequestOptions): Asked<Product> => api.get(`/products/${id(productId)}`, options),
      update: (productId: string, product: ProductChanges, etag: string, options?: RequestOptions): Asked<Product> =>
        api.patch(`/products/${id(productId)}`, { product }, { ...options, ifMatch: etag }),
      buy: (
        productId: string,
        purchase: { quantity: number; account_id?: string },
        options?: RequestOptions,
      ): Asked<Purchase> => api.post(`/products/${id(productId)}/purchases`, { purchase }, options),
    },
  };
}
