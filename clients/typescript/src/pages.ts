import type { ApiClient, RequestOptions } from "./api-client.js";

/** One page of a list. `asOfSeq`: every event of the ledger up to this one is accounted for. */
export interface Page<T> {
  items: T[];
  next: string | null;
  asOfSeq: number | null;
}

interface PageBody<T> {
  data: T[];
  page: { next: string | null; has_more: boolean };
  as_of_seq?: number;
}

/** A list that comes in pages; each loop over it begins anew, and asks for a page when its first item is needed. */
export class Pages<T> implements AsyncIterable<T> {
  constructor(
    private readonly client: ApiClient,
    private readonly path: string,
    private readonly options: RequestOptions,
  ) {}

  /** The page at a cursor; without one the first. */
  async page(cursor?: string): Promise<Page<T>> {
    const query = { ...this.options.query, cursor };
    const { body } = await this.client.get<T[]>(this.path, { ...this.options, query });
    const found = body as PageBody<T>;
    return { items: found.data, next: found.page.next, asOfSeq: found.as_of_seq ?? null };
  }

  /** All pages, from the first. */
  async *pages(): AsyncGenerator<Page<T>> {
    let found = await this.page();
    yield found;
    while (found.next !== null) {
      found = await this.page(found.next);
      yield found;
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T> {
    for await (const { items } of this.pages()) yield* items;
  }
}
