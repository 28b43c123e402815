/** Which requests the service would know again, so that they may be sent twice. */

const KEYED: readonly [method: string, path: RegExp][] = [
  ["POST", /^\/transactions(\/batch)?$/],
  ["POST", /^\/accounts$/],
  ["POST", /^\/products\/[^/]+\/(purchases|restocks)$/],
  ["PUT", /^\/transactions\/[^/]+$/],
  ["PATCH", /^\/transactions\/[^/]+$/],
  ["DELETE", /^\/transactions\/[^/]+$/],
];

/** Whether the service takes an `Idempotency-Key` for this. */
export function takesKey(method: string, path: string): boolean {
  const plain = path.split("?", 1)[0] ?? path;
  return KEYED.some(([known, pattern]) => known === method && pattern.test(plain));
}

/** Whether the body names by ids of its own what is to be made: no key may stand beside them. */
export function hasOwnIds(body: unknown): boolean {
  if (typeof body !== "object" || body === null) return false;
  const { transaction, transactions, account } = body as Record<string, unknown>;
  const each = Array.isArray(transactions) ? transactions : [transaction ?? account];
  return each.length > 0 && each.every((one) => typeof one === "object" && one !== null && "id" in one);
}

/** A new key. Without crypto.randomUUID (pages that are not served safely) from crypto's random bytes. */
export function newKey(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
