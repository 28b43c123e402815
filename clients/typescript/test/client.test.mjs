/**
 * The client against a running service: `BITNEXUS_URL`, `BITNEXUS_ADMIN_TOKEN` (an admin's access token), and
 * `BITNEXUS_CLIENT`, the built module. Run by `node --test`.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { pathToFileURL } from "node:url";

const { ApiClient, ApiError, NoAnswerError, memoryStore, resources } = await import(
  pathToFileURL(process.env.BITNEXUS_CLIENT).href
);
const baseUrl = `${process.env.BITNEXUS_URL}/api/v1`;
const password = "long enough";
const admin = new ApiClient({ baseUrl, store: memoryStore({ accessToken: process.env.BITNEXUS_ADMIN_TOKEN }) });

async function customer(funds = 0, options = {}) {
  const api = new ApiClient({ baseUrl, ...options });
  const email = `${randomUUID()}@example.com`;
  const { data: user } = await resources(api).users.register({ email, password, name: "Ann" });
  await api.login(email, password);
  if (funds > 0) {
    const transaction = { debit_account_id: "world", credit_account_id: user.account_id, amount: funds };
    await admin.post("/transactions", { transaction });
  }
  return { api, user, email, resources: resources(api) };
}

/** A fetch that makes the request, and then loses its answer as often as it is told. */
function losing(times) {
  const made = { requests: 0, keys: new Set() };
  made.fetch = async (input, init) => {
    made.requests += 1;
    made.keys.add(init.headers["Idempotency-Key"]);
    const response = await fetch(input, init);
    if (times-- > 0) {
      await response.text();
      throw new TypeError("fetch failed");
    }
    return response;
  };
  return made;
}

const refusal = (status, code) => (error) =>
  error instanceof ApiError && error instanceof Error && error.status === status && error.code === code;

test("a user registers, logs in, changes with the etag that was read, and logs out", async () => {
  const { api, user, email } = await customer();
  const me = await api.get("/users/me");
  assert.equal(me.data.id, user.id);
  const changed = await api.patch(`/users/${user.id}`, { user: { name: "Anna" } }, { ifMatch: me.etag });
  assert.equal(changed.data.name, "Anna");
  const stale = api.put(`/users/${user.id}`, { user: { name: "Anne" } }, { ifMatch: me.etag });
  await assert.rejects(stale, refusal(412, "precondition_failed"));
  await assert.rejects(api.login(email, "another password"), refusal(401, "invalid_credentials"));
  const { accessToken } = api.tokens;
  await api.logout();
  assert.equal(api.tokens, null);
  const gone = new ApiClient({ baseUrl, store: memoryStore({ accessToken }) });
  await assert.rejects(gone.get("/users/me"), refusal(401, "unauthorized"));
});

test("a problem is an Error with its code, and with the messages of each field", async () => {
  const { api } = await customer();
  await assert.rejects(api.post("/transactions", { transaction: { amount: -1 } }), (error) => {
    assert.ok(refusal(422, "invalid_fields")(error));
    assert.ok(error.problem.errors.amount.length > 0);
    assert.ok(error.problem.request_id);
    return true;
  });
  await assert.rejects(api.get(`/transactions/${randomUUID()}`), refusal(404, "not_found"));
  await assert.rejects(api.delete("/users"), refusal(405, "method_not_allowed"));
});

test("a transfer whose answer is lost is sent again with its key, and made once", async () => {
  const lost = losing(0);
  const { api, user } = await customer(100, { fetch: (...given) => lost.fetch(...given) });
  const { data: other } = await resources(api).accounts.open();
  const gate = losing(2);
  lost.fetch = gate.fetch;
  const transaction = { debit_account_id: user.account_id, credit_account_id: other.id, amount: 60 };
  const made = await api.post("/transactions", { transaction });
  assert.deepEqual([made.data.status, made.replayed, gate.requests, gate.keys.size], ["posted", true, 3, 1]);
  lost.fetch = losing(1).fetch;
  const named = await api.post("/transactions", { transaction: { ...transaction, amount: 1, id: randomUUID() } });
  assert.equal(named.replayed, true);
  lost.fetch = losing(0).fetch;
  assert.equal((await api.get(`/accounts/${other.id}`)).data.balance, 61);
  await assert.rejects(api.post("/transactions", { transaction }), refusal(422, "exceeds_credits"));
});

test("what the service would not know again is sent once", async () => {
  const lost = losing(0);
  const { api, user } = await customer(0, { fetch: (...given) => lost.fetch(...given) });
  const { etag } = await api.get("/users/me");
  const gate = losing(1);
  lost.fetch = gate.fetch;
  const changed = api.patch(`/users/${user.id}`, { user: { name: "Someone" } }, { ifMatch: etag });
  await assert.rejects(changed, NoAnswerError);
  assert.equal(gate.requests, 1);
});

test("an access token that is of no use is renewed once for all who need it", async () => {
  const { api, user } = await customer();
  const store = memoryStore({ ...api.tokens, accessToken: "of-no-use" });
  let refreshed = 0;
  const counting = (input, init) => {
    refreshed += String(input).endsWith("/auth/refresh") ? 1 : 0;
    return fetch(input, init);
  };
  const renewed = new ApiClient({ baseUrl, store, fetch: counting });
  const answers = await Promise.all(Array.from({ length: 8 }, () => renewed.get("/users/me")));
  assert.deepEqual(new Set(answers.map(({ data }) => data.id)), new Set([user.id]));
  assert.equal(refreshed, 1);
  let ended = 0;
  const used = memoryStore({ ...api.tokens, accessToken: "of-no-use" });
  const late = new ApiClient({ baseUrl, store: used, onSessionEnd: () => (ended += 1) });
  await assert.rejects(late.get("/users/me"), refusal(401, "invalid_refresh_token"));
  assert.deepEqual([ended, used.get()], [1, null]);
});

test("a list is one iterator over all its pages", async () => {
  const { user, resources: mine } = await customer(1000);
  const { data: other } = await mine.accounts.open();
  const transactions = Array.from({ length: 7 }, (_, index) => ({
    debit_account_id: user.account_id,
    credit_account_id: other.id,
    amount: index + 1,
  }));
  const { data: batch } = await mine.transactions.batch(transactions);
  assert.deepEqual([batch.accepted, batch.refused], [7, 0]);
  const amounts = [];
  for await (const entry of mine.accounts.history(other.id, { query: { limit: 3 } })) amounts.push(entry.amount);
  assert.deepEqual(amounts, [7, 6, 5, 4, 3, 2, 1]);
  const sizes = [];
  for await (const page of mine.transactions.list({ query: { limit: 4, account_id: other.id } }).pages()) {
    sizes.push(page.items.length);
  }
  assert.deepEqual(sizes, [4, 3]);
});

test("money is reserved, posted in part, voided, and other words are given to it", async () => {
  const { user, resources: mine } = await customer(1000);
  const { data: other } = await mine.accounts.open();
  const between = { debit_account_id: user.account_id, credit_account_id: other.id };
  const { data: pending } = await mine.transactions.reserve({ ...between, amount: 300, timeout_s: 60 });
  assert.equal((await mine.transactions.postPending(pending.id, 100)).data.amount, 100);
  const { data: second } = await mine.transactions.reserve({ ...between, amount: 300 });
  await mine.transactions.void(second.id);
  const voided = await mine.transactions.get(second.id);
  assert.equal(voided.data.status, "voided");
  const said = await mine.transactions.annotate(second.id, { description: "not needed" }, voided.etag);
  assert.equal(said.data.description, "not needed");
  assert.equal((await mine.accounts.get(user.account_id)).data.available, 900);
});

test("a purchase is made once for its key", async () => {
  const { resources: mine } = await customer(5000);
  const product = { sku: randomUUID(), name: "Mug", price: 1250 };
  const { data: made } = await admin.post("/products", { product });
  await admin.post(`/products/${made.id}/restocks`, { restock: { quantity: 3 } });
  const bought = () => mine.products.buy(made.id, { quantity: 2 }, { idempotencyKey: "mugs" });
  const [first, again] = [await bought(), await bought()];
  assert.deepEqual([first.replayed, again.replayed, again.data.id], [false, true, first.data.id]);
  assert.equal((await mine.products.get(made.id)).data.stock, 1);
});

test("a request ends by its signal and by its time, and never with a token somewhere else", async () => {
  const server = createServer((request, response) => {
    if (request.url === "/silent") return;
    response.writeHead(request.url === "/away" ? 302 : 503, { Location: baseUrl, "Retry-After": "60" }).end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = `http://127.0.0.1:${server.address().port}`;
  const api = new ApiClient({ baseUrl: address, timeoutMs: 50, deadlineMs: 300 });
  try {
    await assert.rejects(api.get("/silent"), NoAnswerError);
    await assert.rejects(api.get("/away"), NoAnswerError);
    await assert.rejects(api.get("/busy"), (error) => error instanceof ApiError && error.retryAfterMs === 60_000);
    const slow = new ApiClient({ baseUrl: address, timeoutMs: 20_000 });
    const stop = new AbortController();
    const asked = slow.get("/silent", { signal: stop.signal });
    stop.abort();
    await assert.rejects(asked, { name: "AbortError" });
    await assert.rejects(slow.get("/silent", { signal: stop.signal }), { name: "AbortError" });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});
